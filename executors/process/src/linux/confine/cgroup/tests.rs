//! Over folders that look like those of a machine, since a machine has one kind of control groups at a time.

use std::fs;

use super::*;

/// A machine whose control groups are plain folders.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(mounts: &str, own: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine(root);
        machine.write("proc/self/mountinfo", mounts);
        machine.write("proc/self/cgroup", own);
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn places(&self) -> Places {
        Places::read(self.0.path())
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

const TWO: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n\
                   22 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
const OWN_TWO: &str = "0::/system.slice/jobmgr.service/main\n";

fn needs() -> Needs {
    Needs { memory: Some(Size(64 << 20)), cpus: Some(1.5), pids: Some(20) }
}

#[test]
fn version_two_has_one_folder_with_everything() {
    let machine = Machine::new(TWO, OWN_TWO);
    let own = "sys/fs/cgroup/system.slice/jobmgr.service/main";
    machine.write(&format!("{own}/cgroup.controllers"), "cpuset cpu io memory pids\n");
    machine.write(&format!("{own}/cgroup.subtree_control"), "cpu\n");
    let (group, unmet) = Group::within(&machine.places(), "jm-a1-7-1", &needs());
    let group = group.unwrap();
    assert_eq!(unmet, []);
    let folder = format!("{own}/jobmgr-job-jm-a1-7-1");
    assert_eq!(group.folders(), [machine.path(&folder)]);
    // What the kernel would add up, a file replaces.
    assert_eq!(machine.read(&format!("{own}/cgroup.subtree_control")), "+pids");
    assert_eq!(machine.read(&format!("{folder}/memory.max")), "67108864");
    assert_eq!(machine.read(&format!("{folder}/memory.swap.max")), "0");
    assert_eq!(machine.read(&format!("{folder}/memory.oom.group")), "1");
    assert_eq!(machine.read(&format!("{folder}/cpu.max")), "150000 100000");
    assert_eq!(machine.read(&format!("{folder}/pids.max")), "20");
    assert!(!group.ran_out_of_memory());
    machine.write(&format!("{folder}/memory.events"), "low 0\nhigh 0\nmax 40\noom 2\noom_kill 0\noom_group_kill 0\n");
    assert!(!group.ran_out_of_memory());
    machine.write(&format!("{folder}/memory.events"), "low 0\nhigh 0\nmax 40\noom 2\noom_kill 1\noom_group_kill 1\n");
    assert!(group.ran_out_of_memory());
    machine.write(&format!("{folder}/cgroup.kill"), "");
    group.kill();
    assert_eq!(machine.read(&format!("{folder}/cgroup.kill")), "1");
}

#[test]
fn what_is_missing_is_named_with_its_limit() {
    let machine = Machine::new(TWO, OWN_TWO);
    let own = "sys/fs/cgroup/system.slice/jobmgr.service/main";
    machine.write(&format!("{own}/cgroup.controllers"), "memory\n");
    machine.write(&format!("{own}/cgroup.subtree_control"), "memory\n");
    let (group, unmet) = Group::within(&machine.places(), "k", &needs());
    let why = |controller| format!("{} has no controller '{controller}'", machine.path(own).display());
    assert_eq!(unmet, [Unmet { limit: "Cpus", why: why("cpu") }, Unmet { limit: "Pids", why: why("pids") }]);
    assert!(group.is_some());
    let nothing = Machine::new("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "0::/\n");
    let (group, unmet) = Group::within(&nothing.places(), "k", &needs());
    assert!(group.is_none());
    assert_eq!(unmet.len(), 3);
    assert_eq!(unmet[0].why, "no control groups are mounted here");
}

#[test]
fn a_group_that_hands_nothing_down_is_left_for_a_delegated_one_above() {
    let machine = Machine::new(TWO, OWN_TWO);
    let unit = "sys/fs/cgroup/system.slice/jobmgr.service";
    machine.write(&format!("{unit}/cgroup.controllers"), "memory pids cpu\n");
    machine.write(&format!("{unit}/cgroup.subtree_control"), "pids\n");
    // As systemd leaves it: nothing is handed down yet.
    machine.write(&format!("{unit}/main/cgroup.controllers"), "pids\n");
    // A folder in its place can't be written, as with processes inside.
    fs::create_dir(machine.path(&format!("{unit}/main/cgroup.subtree_control"))).unwrap();
    let refused = machine.places().place("pids").unwrap_err();
    assert!(refused.starts_with("controller 'pids' of ") && refused.contains("/main: "), "{refused}");
    let flags = rustix::fs::XattrFlags::empty();
    if let Err(errno) = rustix::fs::setxattr(machine.path(unit), "user.delegate", b"1", flags) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "the temporary directory takes no attributes: {errno}");
        eprintln!("NOT TESTED: the temporary directory takes no attributes: {errno}");
        return;
    }
    let place = machine.places().place("memory").unwrap();
    assert_eq!(place, Place { parent: machine.path(unit), version: Version::Two });
    assert_eq!(machine.read(&format!("{unit}/cgroup.subtree_control")), "+memory");
}

const ONE: &str = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                   35 31 0:32 /docker/c1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                   36 31 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                   41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

#[test]
fn version_one_has_a_folder_for_each_controller() {
    let own = "4:cpu,cpuacct:/\n3:memory:/docker/c1/inner\n2:pids:/docker/c1\n1:name=systemd:/x\n0::/\n";
    let machine = Machine::new(ONE, own);
    for folder in ["cpu,cpuacct", "memory/inner", "pids/docker/c1", "unified"] {
        machine.write(&format!("sys/fs/cgroup/{folder}/tasks"), "");
    }
    machine.write("sys/fs/cgroup/unified/cgroup.controllers", "hugetlb\n");
    let (group, unmet) = Group::within(&machine.places(), "j", &needs());
    let group = group.unwrap();
    let base = |path: &str| machine.path(&format!("sys/fs/cgroup/{path}/jobmgr-job-j"));
    assert_eq!(group.folders(), [base("memory/inner"), base("cpu,cpuacct"), base("pids/docker/c1")]);
    assert_eq!(unmet, []);
    assert_eq!(machine.read("sys/fs/cgroup/pids/docker/c1/jobmgr-job-j/pids.max"), "20");
    group.kill();
    assert_eq!(machine.read("sys/fs/cgroup/pids/docker/c1/jobmgr-job-j/pids.max"), "0");
    assert_eq!(machine.read("sys/fs/cgroup/memory/inner/jobmgr-job-j/memory.limit_in_bytes"), "67108864");
    assert_eq!(machine.read("sys/fs/cgroup/cpu,cpuacct/jobmgr-job-j/cpu.cfs_quota_us"), "150000");
    machine.write("sys/fs/cgroup/memory/inner/jobmgr-job-j/memory.oom_control", "oom_kill_disable 0\noom_kill 3\n");
    assert!(group.ran_out_of_memory());
}

#[test]
fn a_dead_runners_folder_goes_and_a_living_ones_stays() {
    let parent = tempfile::tempdir().unwrap();
    let at = |key: &str| parent.path().join(folder::name(key));
    let living = Folder::create(&at("living"), Version::Two).unwrap();
    fs::create_dir(at("dead")).unwrap();
    fs::create_dir(parent.path().join("somebody-else")).unwrap();
    let taken = Folder::create(&at("living"), Version::Two).unwrap_err();
    assert_eq!(taken.to_string(), "another job has a control group of this name");
    folder::sweep(parent.path());
    assert!(at("living").exists() && !at("dead").exists() && parent.path().join("somebody-else").exists());
    drop(living);
    assert!(!at("living").exists());
}

#[test]
fn keys_become_names_without_surprises() {
    assert_eq!(folder::name("jm-4f-12-1"), "jobmgr-job-jm-4f-12-1");
    assert_eq!(folder::name("../x y"), "jobmgr-job-___x_y");
}
