//! The image, and how it gets there.

use bollard::auth::DockerCredentials;
use bollard::errors::Error as Answer;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use jobmgr_plugin_api::{Context, Error, Job, Stream};

use crate::config::Config;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::options::{Options, Pull};

/// Makes the job's container, with a pull where one is needed; gives its id, and whether it is new. A container of the
/// job's name that is there already is the job's.
pub async fn create(
    engine: &Engine,
    config: &Config,
    job: &Job<Options>,
    ctx: &Context<'_>,
    body: ContainerCreateBody,
) -> Result<(String, bool), Failure> {
    let options = &job.options;
    let when = options.pull.or(config.pull).unwrap_or_default();
    let mut pulled = when == Pull::Always;
    if pulled {
        pull(engine, config, options, ctx).await?;
    }
    loop {
        match engine.create(&job.key, options.platform.as_deref(), body.clone()).await {
            Ok((id, warnings)) => {
                for warning in warnings {
                    ctx.log(Stream::Executor, format!("the engine warns: {warning}\n").as_bytes())?;
                }
                return Ok((id, true));
            }
            Err(Failure::Refused { status: 404, message }) => {
                if pulled || is_there(engine, &options.image).await? {
                    return Err(Failure::Refused { status: 404, message });
                }
                if when == Pull::Never {
                    let image = &options.image;
                    let why = format!("Image: the engine does not have {image:?}, and Pull is \"never\"");
                    return Err(Failure::Other(Error::invalid(why)));
                }
                pull(engine, config, options, ctx).await?;
                pulled = true;
            }
            // Docker has 409 for a name that is taken, podman 500.
            Err(Failure::Refused { status: status @ (409 | 500), message }) => {
                let refused = Failure::Refused { status, message };
                return engine.find(&job.key).await?.map(|id| (id, false)).ok_or(refused);
            }
            Err(other) => return Err(other),
        }
    }
}

async fn is_there(engine: &Engine, image: &str) -> Result<bool, Failure> {
    match engine.client.inspect_image(image).await.map_err(Failure::from) {
        Ok(_) => Ok(true),
        Err(Failure::Refused { status: 404, .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

async fn pull(engine: &Engine, config: &Config, options: &Options, ctx: &Context<'_>) -> Result<(), Failure> {
    let image = &options.image;
    ctx.log(Stream::Executor, format!("pulling {image}\n").as_bytes())?;
    let question = CreateImageOptions {
        from_image: Some(with_tag(image)),
        platform: options.platform.clone().unwrap_or_default(),
        ..Default::default()
    };
    let mut steps = std::pin::pin!(engine.client.create_image(Some(question), None, login(config, image)?));
    while let Some(step) = steps.next().await {
        step.map_err(|answer| failed(image, answer))?;
    }
    Ok(())
}

fn failed(image: &str, answer: Answer) -> Failure {
    let (text, gone) = match Failure::from(answer) {
        Failure::Refused { status, message } => (message, (400..500).contains(&status)),
        // It came in the middle of a pull that had begun.
        Failure::Away(why) => (why, false),
        Failure::Other(error) => return Failure::Other(error),
    };
    let denied =
        ["denied", "unauthorized", "manifest unknown", "not found", "no matching manifest", "invalid reference"];
    let gone = gone || denied.iter().any(|words| text.to_lowercase().contains(words));
    let text = format!("Image: {image:?} can't be pulled: {text}");
    Failure::Other(if gone { Error::invalid(text) } else { Error::retry(text) })
}

/// Without a tag engines would pull every one.
fn with_tag(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// The registry that an image comes from.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

fn login(config: &Config, image: &str) -> Result<Option<DockerCredentials>, Failure> {
    let name = registry(image);
    let Some(registry) = config.registries.get(name) else { return Ok(None) };
    let file = &registry.password_file;
    let password = std::fs::read_to_string(file).map_err(|why| {
        Error::failed(format!("[Executors.docker.Config.Registries.{name:?}] PasswordFile {file}: {why}"))
    })?;
    Ok(Some(DockerCredentials {
        username: Some(registry.username.clone()),
        password: Some(password.trim_end_matches(['\r', '\n']).to_owned()),
        serveraddress: Some(name.to_owned()),
        ..Default::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_read_as_engines_read_them() {
        assert_eq!(registry("alpine:3"), "docker.io");
        assert_eq!(registry("team/tool"), "docker.io");
        assert_eq!(registry("ghcr.io/team/tool:1"), "ghcr.io");
        assert_eq!(registry("localhost:5000/tool"), "localhost:5000");
        assert_eq!(with_tag("localhost:5000/tool"), "localhost:5000/tool:latest");
        assert_eq!(with_tag("tool@sha256:00"), "tool@sha256:00");
        assert_eq!(with_tag("ghcr.io/team/tool:1"), "ghcr.io/team/tool:1");
    }
}
