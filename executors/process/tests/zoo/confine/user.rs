//! Who a job is.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use jobmgr_plugin_api::Kind;
use nix::unistd::Uid;

use super::{Place, can, give_up_rights, somebody, user, with};
use crate::linux::sh;
use crate::support::{alone, run};

#[test]
fn a_job_is_its_user_and_owns_its_directory() {
    alone(|| {
        if !can(&["User"]) {
            return;
        }
        let (nobody, place) = (somebody(), Place::new());
        let script = "id -u; id -g; echo made > artifacts/made; echo 42 > .progress; cat $HOME/x 2>/dev/null; \
                      echo $USER $LOGNAME; touch ../else 2>/dev/null || echo closed; ls .. 2>/dev/null || echo unseen";
        let ran = place.run_in(sh(script), user("nobody"));
        let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
        let said = format!("{uid}\n{gid}\nnobody nobody\nclosed\nunseen\n");
        assert_eq!(ran.text(), said, "{ran:?}");
        assert!(ran.warnings().is_empty(), "{ran:?}");
        for (path, owner) in [("", uid), ("artifacts", uid), ("artifacts/made", uid), (".progress", uid)] {
            assert_eq!(place.own.join(path).metadata().unwrap().uid(), owner, "{path}");
        }
        // What jobmgr collects and removes.
        assert_eq!(std::fs::read_to_string(place.own.join("artifacts/made")).unwrap(), "made\n");
        std::fs::remove_dir_all(&place.own).unwrap();
        let mode = place.root.path().metadata().unwrap().mode();
        assert_eq!(mode & 0o7777, 0o701);
        // The runner is who it was.
        assert_eq!(run(&sh("id -u")).text(), "0\n");
    });
}

#[test]
fn a_group_may_be_named_and_the_other_groups_come_along() {
    alone(|| {
        if !can(&["User"]) {
            return;
        }
        let ran = run(&with(sh("id -u; id -g; id -G"), user("0:1")));
        let groups: Vec<&str> = ran.text().lines().collect();
        assert_eq!((groups[0], groups[1]), ("0", "1"), "{ran:?}");
        let expected = std::process::Command::new("id").args(["-G", "root"]).output().unwrap();
        for group in String::from_utf8(expected.stdout).unwrap().split_whitespace().filter(|group| *group != "0") {
            assert!(groups[2].split(' ').any(|found| found == group), "{group}: {ran:?}");
        }
        let ran = run(&with(sh("id -u; id -g; id -G"), user("54321:54322")));
        assert_eq!(ran.text(), "54321\n54322\n54322\n", "{ran:?}");
    });
}

#[test]
fn a_job_that_is_not_root_can_do_no_more_than_its_user() {
    alone(|| {
        if !can(&["User"]) {
            return;
        }
        let ran = run(&with(
            sh("grep -E '^Cap(Eff|Prm|Amb)' /proc/self/status; cat /etc/shadow || echo closed"),
            user("nobody"),
        ));
        let none = "0000000000000000";
        assert_eq!(ran.text(), format!("CapPrm:\t{none}\nCapEff:\t{none}\nCapAmb:\t{none}\nclosed\n"), "{ran:?}");
        let place = Place::new();
        let program = place.root.path().join("program");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
        let path = program.display().to_string();
        let ran = place.run_in(crate::support::job([&path]), user("nobody"));
        assert_eq!(ran.error().to_string(), format!("fork/exec {path}: permission denied (as user nobody)"));
        let mut job = sh("exit 0");
        job.working_directory = "/root".into();
        if Path::new("/root").metadata().is_ok_and(|found| found.mode() & 0o001 == 0) {
            let ran = run(&with(job, user("nobody")));
            assert_eq!(ran.error().to_string(), "chdir /root: permission denied (as user nobody)");
        }
    });
}

#[test]
fn who_is_not_there_is_an_error() {
    alone(|| {
        let ran = run(&with(sh("exit 0"), user("no-such-user")));
        let error = ran.error();
        assert_eq!(error.kind(), Kind::Invalid);
        assert_eq!(error.to_string(), "'User': there is no user 'no-such-user' on this machine");
    });
}

#[test]
fn only_root_changes_the_user() {
    alone(|| {
        if !can(&["User"]) {
            return;
        }
        give_up_rights();
        let uid = Uid::current();
        let ran = run(&with(sh("exit 0"), user("root")));
        assert_eq!(ran.error().kind(), Kind::Failed);
        let said = format!("'User': only root can run a job as 'root', and jobmgr runs as user {uid}");
        assert_eq!(ran.error().to_string(), said);
        let own = run(&with(sh("id -u"), user(&format!("{uid}:{}", nix::unistd::Gid::current()))));
        assert_eq!(own.text(), format!("{uid}\n"), "{own:?}");
    });
}
