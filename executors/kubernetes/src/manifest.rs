use jobmgr_plugin_api::Job;
use serde_json::{Map, Value, json};

use crate::Options;
use crate::merge::merge;

/// The name of the container that is the job.
pub const CONTAINER: &str = "job";
/// The label with the attempt's key, by which its pods are found.
pub const KEY: &str = "jobmgr/key";
/// The kubelet keeps the beginning of this file when the container ends.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// How much longer than jobmgr the kubelet lets a job run, so that it is jobmgr that ends it unless it is away.
const DEADLINE_REST: u64 = 60;

/// The Job object of an attempt; with `grants` its command runs under `jobmgr wrap`.
pub fn job(job: &Job<Options>, gpu_resource: &str, grants: Option<&str>) -> Value {
    let labels = json!({
        "app.kubernetes.io/managed-by": "jobmgr",
        "jobmgr/job": job.id,
        "jobmgr/attempt": job.attempt.to_string(),
        KEY: job.key,
    });
    let mut pod = pod(job, gpu_resource);
    if let (Some(wrap), Some(grants)) = (&job.options.wrap, grants) {
        wrap.around(grants, &mut pod);
    }
    let mut template = json!({"metadata": {"labels": labels}, "spec": pod});
    merge(&mut template, &Value::Object(job.options.pod.clone()));
    // Without these it would not be found again.
    merge(&mut template["metadata"]["labels"], &labels);
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job.key, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "ttlSecondsAfterFinished": job.options.ttl,
            "template": template,
        },
    })
}

fn pod(job: &Job<Options>, gpu_resource: &str) -> Value {
    let options = &job.options;
    let mut spec = json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": job.limits.kill_grace_ms.div_ceil(1000).max(1),
        "containers": [container(job, gpu_resource)],
        "volumes": volumes(options),
        "automountServiceAccountToken": options.service_account.is_some(),
        "enableServiceLinks": false,
    });
    if let Some(limit) = job.limits.timeout_ms {
        // The API has 32 bits for it.
        let seconds = limit.div_ceil(1000).saturating_add(DEADLINE_REST).min(i32::MAX as u64);
        spec["activeDeadlineSeconds"] = seconds.into();
    }
    if let Some(account) = &options.service_account {
        spec["serviceAccountName"] = json!(account);
    }
    if !options.node_selector.is_empty() {
        spec["nodeSelector"] = json!(options.node_selector);
    }
    if !options.tolerations.is_empty() {
        spec["tolerations"] = json!(options.tolerations);
    }
    if !options.image_pull_secrets.is_empty() {
        spec["imagePullSecrets"] = options.image_pull_secrets.iter().map(|name| json!({ "name": name })).collect();
    }
    spec
}

fn container(job: &Job<Options>, gpu_resource: &str) -> Value {
    let options = &job.options;
    let mut container = json!({
        "name": CONTAINER,
        "image": options.image,
        "env": environment(job),
        "volumeMounts": mounts(options),
        "resources": resources(options, gpu_resource),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
    });
    let command: Vec<_> = job.command.iter().map(|word| literal(word)).collect();
    match command.split_first() {
        Some((_, arguments)) if options.image_command => container["args"] = json!(arguments),
        Some(_) => container["command"] = json!(command),
        None => {}
    }
    if let Some(policy) = options.image_pull_policy {
        container["imagePullPolicy"] = format!("{policy:?}").into();
    }
    // The job's own directory is none of the image's: it starts where the image says.
    if !job.working_directory.is_empty() && job.working_directory != job.dir {
        container["workingDir"] = json!(job.working_directory);
    }
    container
}

/// Kubernetes puts values in for `$(NAME)`, and `$$` is a `$` there.
pub fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn environment(job: &Job<Options>) -> Vec<Value> {
    let value = |name: &str, value: &str| match name {
        // Under `jobmgr wrap` it is uploaded.
        "JOBMGR_OUTPUT" if job.options.wrap.is_none() => TERMINATION_LOG.to_owned(),
        _ => literal(&moved(value, &job.dir, &job.options.job_directory)),
    };
    job.env.iter().map(|(name, text)| json!({"name": name, "value": value(name, text)})).collect()
}

/// A path in the job's temporary directory, as the container sees it.
fn moved(path: &str, dir: &str, inside: &str) -> String {
    match path.strip_prefix(dir).filter(|_| !dir.is_empty()) {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '\\']) => {
            format!("{inside}{}", rest.replace('\\', "/"))
        }
        _ => path.to_owned(),
    }
}

fn resources(options: &Options, gpu_resource: &str) -> Value {
    let mut both = Map::new();
    both.extend(options.cpus.iter().map(|cpus| ("cpu".to_owned(), cpus.json())));
    both.extend(options.memory.iter().map(|memory| ("memory".to_owned(), memory.json())));
    both.extend(options.gpus.iter().map(|gpus| (gpu_resource.to_owned(), gpus.to_string().into())));
    let (mut requests, mut limits) = (both.clone(), both);
    requests.extend(options.requests.iter().map(|(name, value)| (name.clone(), value.json())));
    limits.extend(options.limits.iter().map(|(name, value)| (name.clone(), value.json())));
    json!({"requests": requests, "limits": limits})
}

fn volumes(options: &Options) -> Vec<Value> {
    let mut volumes = vec![
        json!({"name": "jobmgr-directory", "emptyDir": {}}),
        // A folder of its own, so that it is there without anybody making it.
        json!({"name": "jobmgr-artifacts", "emptyDir": {}}),
    ];
    volumes.extend(options.volumes.iter().enumerate().map(|(index, volume)| volume.volume(&name(index))));
    volumes
}

fn mounts(options: &Options) -> Vec<Value> {
    let directory = &options.job_directory;
    let mut mounts = vec![
        json!({"name": "jobmgr-directory", "mountPath": directory}),
        json!({"name": "jobmgr-artifacts", "mountPath": format!("{directory}/artifacts")}),
    ];
    mounts.extend(options.volumes.iter().enumerate().map(|(index, volume)| volume.mount(&name(index))));
    mounts
}

fn name(index: usize) -> String {
    format!("volume-{index}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

    use jobmgr_plugin_api::Job;
    use serde_json::{Value, json};

    use super::job;
    use crate::Options;

    fn manifest(options: Value, change: impl FnOnce(&mut Job<Options>)) -> Value {
        let options: Options = serde_json::from_value(options).unwrap();
        let mut attempt = Job::new("7", 2, "jm-x-7-2", options);
        attempt.command = vec!["sh".into(), "-c".into(), "echo $(HOME) $$ $5".into()];
        attempt.dir = "/tmp/j/7".into();
        attempt.working_directory = attempt.dir.clone();
        change(&mut attempt);
        job(&attempt, "nvidia.com/gpu", None)
    }

    #[test]
    fn a_job_object_is_named_by_its_key_and_runs_once() {
        let object = manifest(json!({"Image": "busybox"}), |job| {
            job.limits.timeout_ms = Some(1_500);
            job.limits.kill_grace_ms = 2_500;
            job.env = [("JOBMGR_ARTIFACTS_DIR", "/tmp/j/7/artifacts"), ("X", "/tmp/j/70$(A)"), ("JOBMGR_OUTPUT", "/a")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        });
        assert_eq!(object["metadata"]["name"], "jm-x-7-2");
        assert_eq!(object["spec"]["backoffLimit"], 0);
        let labels = &object["spec"]["template"]["metadata"]["labels"];
        assert_eq!((&labels["jobmgr/job"], &labels["jobmgr/attempt"]), (&json!("7"), &json!("2")));
        let pod = &object["spec"]["template"]["spec"];
        assert_eq!((&pod["activeDeadlineSeconds"], &pod["terminationGracePeriodSeconds"]), (&json!(62), &json!(3)));
        let container = &pod["containers"][0];
        assert_eq!(container["command"], json!(["sh", "-c", "echo $$(HOME) $$$$ $$5"]));
        let env = json!([
            {"name": "JOBMGR_ARTIFACTS_DIR", "value": "/jobmgr/artifacts"},
            {"name": "JOBMGR_OUTPUT", "value": "/dev/termination-log"},
            {"name": "X", "value": "/tmp/j/70$$(A)"},
        ]);
        assert_eq!(container["env"], env);
        assert!(container.get("workingDir").is_none());
    }

    #[test]
    fn resources_and_volumes_are_as_the_options_say() {
        let object = manifest(
            json!({"Image": "i", "Cpus": 0.5, "Memory": "1Gi", "Gpus": 2, "ImageCommand": true,
                "Requests": {"memory": "512Mi"}, "ImagePullSecrets": ["s"], "ImagePullPolicy": "Never",
                "Volumes": [{"MountPath": "/data", "Claim": "c", "ReadOnly": true}]}),
            |job| job.working_directory = "/work".into(),
        );
        let pod = &object["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let want = json!({
            "requests": {"cpu": "0.5", "memory": "512Mi", "nvidia.com/gpu": "2"},
            "limits": {"cpu": "0.5", "memory": "1Gi", "nvidia.com/gpu": "2"},
        });
        assert_eq!(container["resources"], want);
        assert_eq!(container["args"], json!(["-c", "echo $$(HOME) $$$$ $$5"]));
        assert!(container.get("command").is_none());
        assert_eq!((&container["workingDir"], &container["imagePullPolicy"]), (&json!("/work"), &json!("Never")));
        assert_eq!(pod["imagePullSecrets"], json!([{"name": "s"}]));
        assert_eq!(pod["volumes"][2]["persistentVolumeClaim"], json!({"claimName": "c", "readOnly": true}));
        let mount = json!({"name": "volume-0", "mountPath": "/data", "readOnly": true});
        assert_eq!(container["volumeMounts"][2], mount);
    }

    #[test]
    fn a_pod_table_goes_over_it_but_not_over_our_labels() {
        let pod = json!({
            "metadata": {"labels": {"team": "a", "jobmgr/key": "other"}},
            "spec": {"runtimeClassName": "gvisor", "containers": [{"name": "job", "stdin": true}]},
        });
        let template = &manifest(json!({"Image": "i", "Pod": pod}), |_| {})["spec"]["template"];
        assert_eq!(template["metadata"]["labels"]["team"], "a");
        assert_eq!(template["metadata"]["labels"]["jobmgr/key"], "jm-x-7-2");
        assert_eq!(template["spec"]["runtimeClassName"], "gvisor");
        let container = &template["spec"]["containers"][0];
        assert_eq!((&container["stdin"], &container["image"]), (&json!(true), &json!("i")));
    }
}
