//! Values that our docker would take for something else than Quadlet does, or not at all: refused here, with what to do.
//!
//! What systemd resolves only on the machine (`%` and `$`) is not judged.

use crate::image_ref::ImageRef;

/// Does systemd make something else of it first?
pub(super) fn is_open(value: &str) -> bool {
    value.contains(['%', '$'])
}

/// Docker's to judge.
pub(super) fn any(_: &str) -> Result<(), String> {
    Ok(())
}

fn ensure(good: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if good { Ok(()) } else { Err(why()) }
}

/// Of another Quadlet file: `data.volume` of `data.volume:/srv`.
fn other_file(name: &str, suffix: &str) -> bool {
    name.len() > suffix.len() && name.ends_with(suffix)
}

pub(super) fn image(value: &str) -> Result<(), String> {
    if other_file(value, ".image") || other_file(value, ".build") {
        return Err("names another Quadlet file, and there are none; name the image itself".to_owned());
    }
    ensure(!value.starts_with('-'), || "begins with '-'".to_owned())?;
    if is_open(value) {
        return ensure(!value.contains(char::is_whitespace), || {
            "one image, one word".to_owned()
        });
    }
    ImageRef::parse(value)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// The names docker gives to containers.
pub(super) fn is_name(value: &str) -> bool {
    value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

pub(super) fn name(value: &str) -> Result<(), String> {
    let open = |c: char| c.is_ascii_alphanumeric() || "_.-%${}".contains(c);
    ensure(
        is_name(value) || (is_open(value) && value.chars().all(open)),
        || "letters, digits, '_', '.' and '-' only, a letter or digit first".to_owned(),
    )
}

pub(super) fn pull(value: &str) -> Result<(), String> {
    ensure(matches!(value, "always" | "missing" | "never"), || {
        "always, missing or never".to_owned()
    })
}

pub(super) fn network(value: &str) -> Result<(), String> {
    let shared = value
        .strip_prefix("container:")
        .is_some_and(|name| !name.is_empty());
    let known = shared || matches!(value, "bridge" | "host" | "none");
    ensure(known || is_open(value), || {
        "there are bridge, host, none and container:NAME, and none can be made".to_owned()
    })
}

/// A path in the container, perhaps with options behind a colon.
pub(super) fn absolute(value: &str) -> Result<(), String> {
    ensure(value.starts_with('/') || is_open(value), || {
        "a path that begins with '/'".to_owned()
    })
}

pub(super) fn group(value: &str) -> Result<(), String> {
    ensure(value != "keep-groups", || {
        "name the groups: nobody's are kept".to_owned()
    })
}

pub(super) fn variable(value: &str) -> Result<(), String> {
    ensure(!value.starts_with('=') && !value.is_empty(), || {
        "KEY=value".to_owned()
    })
}

pub(super) fn pair(value: &str) -> Result<(), String> {
    ensure(value.find('=').is_some_and(|at| at > 0), || {
        "key=value".to_owned()
    })
}

pub(super) fn variables(value: &str) -> Result<(), String> {
    ensure(!value.starts_with('-'), || {
        "the file must exist: '-' before it has no effect; leave that out".to_owned()
    })?;
    ensure(value.starts_with('/') || is_open(value), || {
        "a path on the unit's machine that begins with '/': nothing but the unit gets there".to_owned()
    })
}

pub(super) fn volume(value: &str) -> Result<(), String> {
    if value.contains(char::is_whitespace) {
        return Err("one volume a line, without blanks".to_owned());
    }
    let parts: Vec<&str> = value.split(':').collect();
    let (source, options) = match parts[..] {
        [_] => (None, ""),
        [source, _] => (Some(source), ""),
        [source, _, options] => (Some(source), options),
        _ => return Err("[source:]target[:options]".to_owned()),
    };
    source.map_or(Ok(()), source_of)?;
    for option in options
        .split(',')
        .filter(|option| !option.is_empty() && !is_open(option))
    {
        let known = [
            "ro", "rw", "z", "Z", "nocopy", "private", "rprivate", "slave", "rslave", "shared", "rshared",
        ];
        ensure(known.contains(&option), || {
            format!(
                "docker knows no option {option} here; there are ro, rw, nocopy, z, Z and kinds of propagation"
            )
        })?;
    }
    Ok(())
}

fn source_of(source: &str) -> Result<(), String> {
    if other_file(source, ".volume") {
        return Err(format!(
            "{source} is another Quadlet file, and there are none; a name without .volume is a volume, made when it is needed"
        ));
    }
    ensure(!source.starts_with('.'), || {
        "begin it with '/': it is a path on the unit's machine, and nothing but the unit gets there"
            .to_owned()
    })
}

pub(super) fn mount(value: &str) -> Result<(), String> {
    const KNOWN: [&str; 10] = [
        "target",
        "dst",
        "destination",
        "readonly",
        "ro",
        "bind-propagation",
        "volume-nocopy",
        "tmpfs-size",
        "tmpfs-mode",
        "consistency",
    ];
    for field in value.split(',') {
        match field.split_once('=').unwrap_or((field, "true")) {
            ("type", kind) => ensure(
                matches!(kind, "bind" | "volume" | "tmpfs") || is_open(kind),
                || format!("type={kind}: there are bind, volume and tmpfs"),
            )?,
            ("source" | "src", source) => source_of(source)?,
            (key, _) => ensure(KNOWN.contains(&key), || {
                format!(
                    "docker knows no {key:?} in it: type, source, target, readonly, bind-propagation, tmpfs-size"
                )
            })?,
        }
    }
    Ok(())
}

pub(super) fn size(value: &str) -> Result<(), String> {
    ensure(is_open(value) || bytes(value).is_some(), || {
        "a size such as 512m".to_owned()
    })
}

/// A size as docker has it, in systemd's form: `512m` is `512M`.
pub(super) fn bytes(value: &str) -> Option<String> {
    let value = value.to_ascii_lowercase();
    let end = value
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    let digits =
        |text: &str| !text.is_empty() && text.len() <= 15 && text.bytes().all(|b| b.is_ascii_digit());
    let good = match number.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(number),
    };
    let unit = match unit {
        "" | "b" => "",
        "k" | "kb" | "kib" => "K",
        "m" | "mb" | "mib" => "M",
        "g" | "gb" | "gib" => "G",
        "t" | "tb" | "tib" => "T",
        _ => return None,
    };
    good.then(|| format!("{number}{unit}"))
}

pub(super) fn device(value: &str) -> Result<(), String> {
    ensure(!value.starts_with('-'), || {
        "the device must exist: '-' before it has no effect; leave that out".to_owned()
    })
}

pub(super) fn seccomp(value: &str) -> Result<(), String> {
    ensure(value == "unconfined", || {
        "the profile is docker's, or none at all: unconfined".to_owned()
    })
}

pub(super) fn ulimit(value: &str) -> Result<(), String> {
    ensure(value != "host", || {
        "name=soft[:hard]; the machine's own are not taken".to_owned()
    })?;
    pair(value).map_err(|_| "name=soft[:hard]".to_owned())
}

pub(super) fn number(value: &str) -> Result<(), String> {
    ensure(is_open(value) || value.parse::<u64>().is_ok(), || {
        "a whole number".to_owned()
    })
}

pub(super) fn entrypoint(value: &str) -> Result<(), String> {
    ensure(!value.starts_with('['), || {
        "one program; its arguments go into Exec=".to_owned()
    })
}
