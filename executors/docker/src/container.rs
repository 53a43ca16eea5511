//! A job and its options as the engine wants them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, HostConfig, HostConfigLogConfig, Mount as EngineMount,
    MountType, ResourcesUlimits,
};
use jobmgr_plugin_api::{Context, Error, Job, Result, Stream};

use crate::config::Config;
use crate::engine::Engine;
use crate::options::{Gpus, Mount, Options};
use crate::platform;

/// The label that says whose a container is.
pub const KEY: &str = "jobmgr.key";
/// Where the job's directory is in the container unless its options say something else.
const JOB_DIRECTORY: &str = "/jobmgr";

/// The container that a job needs.
pub fn body(job: &Job<Options>, config: &Config, engine: &Engine) -> Result<ContainerCreateBody> {
    let options = &job.options;
    let user = options.user.as_ref().or(config.user.as_ref());
    let user = match user.map(String::as_str) {
        Some("@worker") => Some(
            platform::this_user().ok_or_else(|| Error::invalid("User: \"@worker\" means nothing on this platform"))?,
        ),
        other => other.map(str::to_owned),
    };
    let named = job.command.first().is_some_and(|command| !command.is_empty());
    Ok(ContainerCreateBody {
        image: Some(options.image.clone()),
        entrypoint: options.entrypoint.clone(),
        cmd: named.then(|| job.command.clone()),
        env: Some(environment(job)),
        working_dir: working_directory(job),
        user,
        hostname: options.hostname.clone(),
        labels: Some(labels(job)),
        host_config: Some(host(job, config, engine)?),
        ..Default::default()
    })
}

fn labels(job: &Job<Options>) -> HashMap<String, String> {
    let own = [("jobmgr.job", job.id.clone()), ("jobmgr.attempt", job.attempt.to_string()), (KEY, job.key.clone())];
    let given = job.options.labels.clone().into_iter();
    given.chain(own.map(|(name, value)| (name.to_owned(), value))).collect()
}

fn host(job: &Job<Options>, config: &Config, engine: &Engine) -> Result<HostConfig> {
    let options = &job.options;
    let memory = options.memory.or(config.memory).map(bytes);
    let cpus = options.cpus.or(config.cpus);
    Ok(HostConfig {
        mounts: Some(mounts(job)),
        tmpfs: (!options.tmpfs.is_empty()).then(|| map(&options.tmpfs)),
        network_mode: options.network.clone().or_else(|| config.network.clone()),
        extra_hosts: list(&options.extra_hosts),
        dns: list(&options.dns),
        memory,
        // Equal means: no swap on top.
        memory_swap: memory,
        nano_cpus: cpus.map(|cpus| (cpus * 1e9).round() as i64),
        pids_limit: options.pids_limit.or(config.pids_limit),
        shm_size: options.shm_size.map(bytes),
        ulimits: ulimits(options),
        device_requests: gpus(job, engine.podman.as_deref())?,
        devices: (!options.devices.is_empty())
            .then(|| options.devices.iter().map(|device| self::device(device)).collect()),
        readonly_rootfs: options.read_only.then_some(true),
        init: options.init.then_some(true),
        group_add: list(&options.group_add),
        cap_add: list(&options.cap_add),
        cap_drop: list(&options.cap_drop),
        security_opt: list(&options.security_opt),
        privileged: options.privileged.then_some(true),
        sysctls: (!options.sysctls.is_empty()).then(|| map(&options.sysctls)),
        ipc_mode: options.ipc.clone(),
        runtime: options.runtime.clone(),
        log_config: Some(log(config, engine)),
        ..Default::default()
    })
}

/// Output has to come back byte for byte and as a whole. Docker's `json-file` replaces what is not UTF-8, and every
/// driver of Docker's throws old output away unless it is told otherwise.
fn log(config: &Config, engine: &Engine) -> HostConfigLogConfig {
    let own = if engine.podman.is_some() { "k8s-file" } else { "local" };
    let driver = config.log_driver.as_deref().unwrap_or(own);
    let bounds: &[(&str, &str)] = match (driver, engine.podman.is_some()) {
        ("local", false) => &[("max-size", "1p"), ("max-file", "1"), ("compress", "false")],
        ("json-file", false) => &[("max-size", "1p"), ("max-file", "1")],
        _ => &[],
    };
    let bounds = bounds.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    HostConfigLogConfig { typ: Some(driver.to_owned()), config: Some(bounds) }
}

/// As the engine counts; no size is larger than that.
fn bytes(size: crate::Size) -> i64 {
    i64::try_from(size.0).unwrap_or(i64::MAX)
}

fn list(items: &[String]) -> Option<Vec<String>> {
    (!items.is_empty()).then(|| items.to_vec())
}

fn map(items: &BTreeMap<String, String>) -> HashMap<String, String> {
    items.clone().into_iter().collect()
}

fn ulimits(options: &Options) -> Option<Vec<ResourcesUlimits>> {
    let one = |(name, limit): (&String, &crate::Ulimit)| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    };
    (!options.ulimits.is_empty()).then(|| options.ulimits.iter().map(one).collect())
}

fn device(device: &str) -> DeviceMapping {
    let mut parts = device.split(':');
    let host = parts.next().unwrap_or_default();
    DeviceMapping {
        path_on_host: Some(host.to_owned()),
        path_in_container: Some(parts.next().unwrap_or(host).to_owned()),
        cgroup_permissions: Some(parts.next().unwrap_or("rwm").to_owned()),
    }
}

/// The variable that names the GPUs which jobmgr gives the job.
const GIVEN: &str = "JOBMGR_GPUS";

/// Docker takes wishes for GPUs; podman knows them as devices of its Container Device Interface only, and before 5.4
/// it passes over either without a word when asked by its API.
fn gpus(job: &Job<Options>, podman: Option<&str>) -> Result<Option<Vec<DeviceRequest>>> {
    let given = job.env.get(GIVEN).map(|ids| Gpus::Ids(ids.split(',').map(str::to_owned).collect()));
    if given.is_some() && job.options.gpus.is_some() {
        let text = "Gpus: the job is given some by 'Gpus' beside [Options]; remove one of the two";
        return Err(Error::invalid(text));
    }
    let Some(gpus) = job.options.gpus.clone().or(given) else { return Ok(None) };
    let Some(version) = podman else {
        let (count, device_ids) = match gpus {
            Gpus::All(_) => (Some(-1), None),
            Gpus::Count(count) => (Some(i64::from(count)), None),
            Gpus::Ids(ids) => (None, Some(ids)),
        };
        let capabilities = Some(vec![vec!["gpu".to_owned()]]);
        return Ok(Some(vec![DeviceRequest { count, device_ids, capabilities, ..Default::default() }]));
    };
    if !gives_devices(version) {
        return Err(Error::invalid(format!("Gpus: podman {version} can't give any by its API; that needs podman 5.4")));
    }
    let name = |id: &str| format!("nvidia.com/gpu={id}");
    let device_ids = match gpus {
        Gpus::All(_) => vec![name("all")],
        Gpus::Ids(ids) => ids.iter().map(|id| name(id)).collect(),
        Gpus::Count(_) => return Err(Error::invalid("Gpus: podman can't choose them; name their ids or \"all\"")),
    };
    let driver = Some("cdi".to_owned());
    Ok(Some(vec![DeviceRequest { driver, device_ids: Some(device_ids), ..Default::default() }]))
}

/// Whether this podman gives a container of its API the devices that it asks for.
fn gives_devices(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (5, 4)
}

/// Where the job's directory is in the container, if it is there.
fn job_directory(options: &Options) -> Option<&str> {
    let path = options.job_directory.as_deref().unwrap_or(JOB_DIRECTORY);
    Some(path.trim_end_matches('/')).filter(|path| !path.is_empty())
}

fn mounts(job: &Job<Options>) -> Vec<EngineMount> {
    let bind = |source: &str, target: String, read_only| EngineMount {
        typ: Some(MountType::BIND),
        source: Some(source.to_owned()),
        target: Some(target),
        read_only: Some(read_only),
        ..Default::default()
    };
    let mut mounts = Vec::new();
    if let Some(inside) = job_directory(&job.options).filter(|_| !job.dir.is_empty()) {
        mounts.push(bind(&job.dir, inside.to_owned(), false));
        let inputs = Path::new(&job.dir).join("inputs");
        if inputs.is_dir() {
            mounts.push(bind(&inputs.to_string_lossy(), format!("{inside}/inputs"), true));
        }
    }
    for Mount { source, target, read_only } in &job.options.mounts {
        let typ = if Path::new(source).is_absolute() || source.starts_with('/') {
            MountType::BIND
        } else {
            MountType::VOLUME
        };
        mounts.push(EngineMount { typ: Some(typ), ..bind(source, target.clone(), *read_only) });
    }
    mounts
}

/// A path below the job's directory as it is in the container. `Some(None)`: it is there, and not in the container.
fn inside(job: &Job<Options>, path: &str) -> Option<Option<String>> {
    let rest = path.strip_prefix(&job.dir).filter(|_| !job.dir.is_empty())?;
    if !rest.is_empty() && !rest.starts_with(['/', '\\']) {
        return None;
    }
    Some(job_directory(&job.options).map(|directory| format!("{directory}{}", rest.replace('\\', "/"))))
}

fn environment(job: &Job<Options>) -> Vec<String> {
    let one = |(name, value): (&String, &String)| match inside(job, value) {
        None => Some(format!("{name}={value}")),
        Some(Some(path)) => Some(format!("{name}={path}")),
        Some(None) => None,
    };
    job.env.iter().filter_map(one).collect()
}

fn working_directory(job: &Job<Options>) -> Option<String> {
    if let Some(directory) = &job.options.working_directory {
        return Some(directory.clone());
    }
    let directory = Some(&job.working_directory).filter(|path| !path.is_empty() && **path != job.dir)?;
    inside(job, directory).unwrap_or_else(|| Some(directory.clone()))
}

/// Lets the container's user write where artifacts belong, whoever that is.
pub fn share_directory(job: &Job<Options>, ctx: &Context<'_>) {
    if job.dir.is_empty() || job_directory(&job.options).is_none() {
        return;
    }
    let why = match platform::share(Path::new(&job.dir)) {
        Ok(true) => return,
        Ok(false) => "the directory above it is open to others".to_owned(),
        Err(error) => error.to_string(),
    };
    let text = format!("{} stays as it is, so a container with another user can't write to it: {why}\n", job.dir);
    // The job may not need it.
    let _ = ctx.log(Stream::Executor, text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job<Options> {
        let mut job = Job::new("7", 1, "jm-t-7-1", Options { image: "a".into(), ..Options::default() });
        job.dir = "/tmp/j/7-1".into();
        job.working_directory = job.dir.clone();
        job.env = BTreeMap::from([
            ("JOBMGR_ARTIFACTS_DIR".into(), "/tmp/j/7-1/artifacts".into()),
            ("OTHER".into(), "/tmp/j/7-10".into()),
        ]);
        job
    }

    #[test]
    fn paths_are_those_of_the_container() {
        let mut job = job();
        assert_eq!(environment(&job), ["JOBMGR_ARTIFACTS_DIR=/jobmgr/artifacts", "OTHER=/tmp/j/7-10"]);
        job.options.job_directory = Some("/other/".into());
        assert_eq!(environment(&job)[0], "JOBMGR_ARTIFACTS_DIR=/other/artifacts");
        job.options.job_directory = Some(String::new());
        assert_eq!(environment(&job), ["OTHER=/tmp/j/7-10"]);
        assert!(mounts(&job).is_empty());
    }

    #[test]
    fn the_image_says_where_the_job_starts_unless_somebody_else_does() {
        let mut job = job();
        assert_eq!(working_directory(&job), None);
        job.working_directory = "/srv".into();
        assert_eq!(working_directory(&job).as_deref(), Some("/srv"));
        job.options.working_directory = Some("/opt".into());
        assert_eq!(working_directory(&job).as_deref(), Some("/opt"));
    }

    #[test]
    fn versions_are_numbers() {
        assert!(gives_devices("5.10.0") && gives_devices("6.0.0-dev"));
        assert!(!gives_devices("4.9.3") && !gives_devices("5.3.1"));
    }

    #[test]
    fn the_container_has_the_gpus_that_the_job_was_given() {
        let (docker, podman) = (None, Some("5.4.0"));
        let ids = |job: &Job<Options>, podman| {
            let requests = gpus(job, podman).expect("it can")?;
            Some((requests[0].count, requests[0].device_ids.clone()?))
        };
        let mut job = job();
        assert_eq!(ids(&job, docker), None);
        job.env.insert(GIVEN.into(), "GPU-1,GPU-2".into());
        assert_eq!(ids(&job, docker), Some((None, vec!["GPU-1".into(), "GPU-2".into()])));
        assert_eq!(ids(&job, podman), Some((None, vec!["nvidia.com/gpu=GPU-1".into(), "nvidia.com/gpu=GPU-2".into()])));
        job.options.gpus = Some(Gpus::Ids(vec!["0".into()]));
        assert!(gpus(&job, docker).unwrap_err().to_string().contains("beside [Options]"), "others may have those");
    }

    #[test]
    fn a_device_has_three_parts() {
        let device = device("/dev/sda:/dev/x:r");
        assert_eq!(device.path_in_container.as_deref(), Some("/dev/x"));
        assert_eq!(device.cgroup_permissions.as_deref(), Some("r"));
        assert_eq!(self::device("/dev/fuse").path_in_container.as_deref(), Some("/dev/fuse"));
    }
}
