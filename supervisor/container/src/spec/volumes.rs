//! `-v`, `--mount` and `--tmpfs`. Pure.

use crate::record::{MountPoint, MountSource};

/// What is no mount.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum VolumeError {
    /// Not of the grammar.
    #[error("invalid volume specification: '{0}': {1}")]
    Volume(String, &'static str),
    /// Not of the grammar.
    #[error("invalid argument \"{0}\" for \"--mount\" flag: {1}")]
    Mount(String, String),
}

fn is_volume_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.len() >= 2
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// A mount point without a source, to be completed.
fn empty(target: &str) -> MountPoint {
    MountPoint {
        source: MountSource::Volume(String::new()),
        target: target.to_owned(),
        read_only: false,
        anonymous: false,
        create: false,
        copy: false,
        propagation: String::new(),
    }
}

/// Reads `[source:]target[:options]`. A source that is no path is a volume's name; none at all asks for an anonymous
/// volume, whose name is left empty for the caller to make.
pub fn parse_volume(text: &str) -> Result<MountPoint, VolumeError> {
    let wrong = |reason| VolumeError::Volume(text.to_owned(), reason);
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err(wrong("too many parts")),
    };
    if !target.starts_with('/') {
        return Err(wrong("mount path must be absolute"));
    }
    if target == "/" {
        return Err(wrong("destination can't be '/'"));
    }
    let mut mount = empty(target);
    match source {
        None => (mount.anonymous, mount.copy) = (true, true),
        Some(path) if path.starts_with('/') => {
            mount.source = MountSource::Bind(path.to_owned());
            mount.create = true;
        }
        Some(name) if is_volume_name(name) => {
            mount.source = MountSource::Volume(name.to_owned());
            mount.copy = true;
        }
        Some(_) => return Err(wrong("the source is neither an absolute path nor a volume name")),
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => mount.read_only = true,
            "nocopy" => mount.copy = false,
            "rprivate" | "private" | "rslave" | "slave" | "rshared" | "shared" => {
                mount.propagation = option.to_owned()
            }
            // Labels are SELinux's, consistency is of other systems; both change nothing here.
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            _ => return Err(wrong("invalid mode")),
        }
    }
    Ok(mount)
}

/// Reads `type=bind,source=/a,target=/b,readonly`.
pub fn parse_mount(text: &str) -> Result<MountPoint, VolumeError> {
    let wrong = |reason: String| VolumeError::Mount(text.to_owned(), reason);
    let (mut kind, mut source) = ("volume", "");
    let mut tmpfs = Vec::new();
    let mut mount = empty("");
    for field in text.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, "true"));
        match key {
            "type" => kind = value,
            "source" | "src" => source = value,
            "target" | "dst" | "destination" => mount.target = value.to_owned(),
            "readonly" | "ro" => mount.read_only = matches!(value, "true" | "1"),
            "bind-propagation" => mount.propagation = value.to_owned(),
            "volume-nocopy" => mount.copy = false,
            "tmpfs-size" => tmpfs.push(format!("size={value}")),
            "tmpfs-mode" => tmpfs.push(format!("mode={value}")),
            "consistency" => {}
            _ => return Err(wrong(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    if !mount.target.starts_with('/') {
        return Err(wrong("target must be an absolute path".into()));
    }
    mount.source = match kind {
        "bind" if source.starts_with('/') => MountSource::Bind(source.to_owned()),
        "bind" => return Err(wrong("source of a bind mount must be an absolute path".into())),
        "volume" if source.is_empty() || is_volume_name(source) => MountSource::Volume(source.to_owned()),
        "volume" => return Err(wrong(format!("'{source}' is no volume name"))),
        "tmpfs" => MountSource::Tmpfs(tmpfs.join(",")),
        other => return Err(wrong(format!("unknown mount type '{other}'"))),
    };
    if kind == "volume" {
        mount.anonymous = source.is_empty();
        mount.copy = !text.contains("volume-nocopy");
    }
    Ok(mount)
}

/// Reads `--tmpfs target[:options]`.
pub fn parse_tmpfs(text: &str) -> Result<MountPoint, VolumeError> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    if !target.starts_with('/') {
        return Err(VolumeError::Volume(
            text.to_owned(),
            "mount path must be absolute",
        ));
    }
    let read_only = options.split(',').any(|option| option == "ro");
    let rest: Vec<&str> = options
        .split(',')
        .filter(|option| !matches!(*option, "ro" | "rw"))
        .collect();
    Ok(MountPoint {
        source: MountSource::Tmpfs(rest.join(",")),
        read_only,
        ..empty(target)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn volumes_binds_and_memory() {
        let bind = parse_volume("/a:/b:ro,z").unwrap();
        assert_eq!(
            (bind.source, bind.read_only, bind.create),
            (MountSource::Bind("/a".into()), true, true)
        );
        let named = parse_volume("data:/b").unwrap();
        assert_eq!(
            (named.source, named.anonymous),
            (MountSource::Volume("data".into()), false)
        );
        assert!(parse_volume("/only").unwrap().anonymous);
        let mount = parse_mount("type=bind,src=/a,dst=/b,readonly").unwrap();
        assert_eq!(
            (mount.source, mount.read_only, mount.create),
            (MountSource::Bind("/a".into()), true, false)
        );
        let tmpfs = parse_mount("type=tmpfs,target=/t,tmpfs-size=1m").unwrap();
        assert_eq!(tmpfs.source, MountSource::Tmpfs("size=1m".into()));
        assert_eq!(
            parse_tmpfs("/t:size=1m,ro").unwrap().source,
            MountSource::Tmpfs("size=1m".into())
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["a", "/a:b", "/a:/", "../a:/b", "/a:/b:x", "/a:/b:ro:rw"] {
            assert!(parse_volume(text).is_err(), "{text}");
        }
        for text in ["type=bind,src=a,dst=/b", "dst=b", "type=x,dst=/b", "foo=1,dst=/b"] {
            assert!(parse_mount(text).is_err(), "{text}");
        }
    }
}
