use std::time::Instant;

use jobmgr_plugin_api::Ending;
use jobmgr_plugin_api::test::Host;

use crate::support::{Engine, Work};

crate::on_both!(fifty_at_once);

fn fifty_at_once(engine: &Engine) {
    let docker = engine.executor();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..50 {
            let docker = &docker;
            scope.spawn(move || {
                let work = Work::sh(docker, &format!("echo job {number}; exit {number}"));
                let host = Host::default();
                let outcome = work.run(&host).unwrap();
                assert_eq!(outcome.ending, Ending::Exited(number));
                assert_eq!(String::from_utf8(host.stdout()).unwrap(), format!("job {number}\n"));
            });
        }
    });
    eprintln!("50 containers of {:?} took {:.1} s", engine.kind, begin.elapsed().as_secs_f64());
}
