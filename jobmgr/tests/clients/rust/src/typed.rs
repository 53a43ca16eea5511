//! What the jobspecs' own operations do.

use super::Client;
use super::types::{Code, RunCountdown, RunHello, RunHelloStyle, Status};
use super::walk::problem;

/// All of it.
pub async fn all(client: &Client) {
    let hello = RunHello { message: "good evening".into(), style: RunHelloStyle::Starred };
    let job = client.run_hello().body(hello).wait("30s").send().await.unwrap();
    assert_eq!((job.status, job.result.as_deref()), (Status::Completed, Some("*** good evening ***\n")));
    let later = client.run_countdown().body(RunCountdown { seconds: 1 }).priority(7).send().await.unwrap();
    assert_eq!((later.priority, later.parameters["seconds"].as_str()), (7, "1"));
    let wrong = problem(client.run_hello().body(RunHello::default()).wait("soon").send().await).await;
    assert_eq!(wrong.code, Code::InvalidParameters);
    println!("typed ok");
}
