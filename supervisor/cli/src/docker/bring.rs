//! Having the image: from the store, or by a pull.

use corten_container::image::manifest::Platform;
use corten_container::image::{Image, ImageStore, StoreError};
use corten_container::reference::Reference;
use corten_container::registry::{self, PullError, Pulled, RegistryConfig};

use super::Context;
use super::failure::Failure;
use super::progress::Shown;

/// When `docker run` pulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Always,
    Missing,
    Never,
}

impl Policy {
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Failure> {
        match text {
            None | Some("missing") => Ok(Self::Missing),
            Some("always") => Ok(Self::Always),
            Some("never") => Ok(Self::Never),
            Some(other) => Err(Failure::plain(
                125,
                format!(
                    "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
                ),
            )),
        }
    }
}

/// The platform asked for, or this machine's.
pub(super) fn platform(text: Option<&str>) -> Result<Platform, Failure> {
    match text {
        None => Ok(Platform::host()),
        Some(text) => Platform::parse(text)
            .ok_or_else(|| Failure::plain(1, format!("\"{text}\" is no platform: write os/architecture"))),
    }
}

/// Pulls an image, showing how it goes.
pub(super) fn pull(
    context: &Context,
    reference: &Reference,
    platform: &Platform,
    shown: &Shown,
) -> Result<Pulled, Failure> {
    let store = ImageStore::new(&context.engine);
    if let Some(tag) = &reference.tag {
        shown.line(&format!("{tag}: Pulling from {}", reference.repository));
    } else {
        shown.line(&format!(
            "{}: Pulling from {}",
            reference.wanted(),
            reference.repository
        ));
    }
    let pulled =
        registry::pull(&store, &RegistryConfig::load(), reference, platform, shown).map_err(failure)?;
    shown.line(&format!("Digest: {}", pulled.digest));
    let what = if pulled.fresh {
        "Downloaded newer image for"
    } else {
        "Image is up to date for"
    };
    shown.line(&format!("Status: {what} {}", reference.familiar()));
    Ok(pulled)
}

fn failure(error: PullError) -> Failure {
    Failure::engine(error)
}

/// The image named `name`, pulled if the policy says so. The second value says whether a pull took place.
pub(super) fn image(
    context: &Context,
    name: &str,
    policy: Policy,
    platform: &Platform,
    quiet: bool,
) -> Result<(Image, bool), Failure> {
    let store = ImageStore::new(&context.engine);
    let refused = |error: &dyn std::fmt::Display| Failure::engine(error).with_code(125);
    if policy != Policy::Always {
        match store.find(name) {
            Ok(image) => return Ok((image, false)),
            Err(StoreError::Unknown(_)) if policy == Policy::Missing => {}
            Err(error) => return Err(refused(&error)),
        }
    }
    let reference = Reference::parse(name).map_err(|error| Failure::plain(125, error.to_string()))?;
    if policy == Policy::Missing {
        eprintln!("Unable to find image '{}' locally", reference.familiar());
    }
    pull(context, &reference, platform, &Shown::new(quiet, true))
        .map_err(|failure| failure.with_code(125))?;
    Ok((store.find(name).map_err(|error| refused(&error))?, true))
}
