//! Unit files on this side: where the one of an argument would lie, and what is in it; a `.container` file is read as the
//! service it stands for.

use std::path::{Path, PathBuf};

use corten_spec::container;
use corten_spec::unit_file::{SIZE_MAX, UnitFile};
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet;

use super::resolve::Local;
use crate::terminal::tell;

/// The file for the unit `name`, of the kind that an argument names and beside it.
pub(super) fn path_of(argument: &str, name: &str) -> PathBuf {
    let directory = Path::new(argument).parent().unwrap_or(Path::new(""));
    directory.join(match service_of(Path::new(argument)) {
        Some(_) => container::file_of(name),
        None => name.to_owned(),
    })
}

fn service_of(path: &Path) -> Option<String> {
    container::service_of(path.file_name()?.to_str()?)
}

/// Reads a unit file, if it exists. One that is only to be compared may be unreadable.
pub(super) fn read(path: &Path, needed: bool) -> Result<Option<Local>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound || !needed => return Ok(None),
        Err(error) => return Err(wrong(path, error)),
    };
    match parse(path, &text) {
        Ok(file) => Ok(Some((path.display().to_string(), file))),
        Err(_) if !needed => Ok(None),
        Err(why) => Err(wrong(path, why)),
    }
}

fn wrong(path: &Path, why: impl std::fmt::Display) -> String {
    format!("failed getting Unit({}) from file: {why}", path.display())
}

fn parse(path: &Path, text: &str) -> Result<UnitFile, String> {
    match service_of(path) {
        Some(service) => container::translate(&service, text).map_err(|error| error.to_string()),
        None => UnitFile::parse(text).map_err(|error| error.to_string()),
    }
}

/// Refuses a local file that says nothing, or whose container cannot be run, before anybody is asked.
pub(super) fn check(argument: &str) -> Result<(), String> {
    let path = path_of(argument, &UnitName::complete(argument));
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(());
    };
    if UnitFile::parse(&text).is_ok_and(|file| file.options.is_empty()) {
        return Err(wrong(
            &path,
            match text.trim() {
                "" => "the file is empty",
                _ => "it has no [Section] with an option in it",
            },
        ));
    }
    match service_of(&path) {
        Some(_) => parse(&path, &text).map(drop).map_err(|why| wrong(&path, why)),
        None => Ok(()),
    }
}

/// The checks that the server makes too; ours come with the same words and without a way.
pub(super) fn approve(name: &str, file: &UnitFile) -> Result<(), String> {
    UnitName::parse(name).map_err(|error| error.to_string())?;
    let size = file.to_string().len();
    if size > SIZE_MAX {
        return Err(format!(
            "Unit {name} is too large: {size} bytes, at most {SIZE_MAX}"
        ));
    }
    x_fleet::validate(file).map_err(|error| format!("{error}{}", at_odds(name, file)))?;
    for key in x_fleet::unknown_keys(file) {
        tell(format!(
            "WARNING: Unit {name}: unrecognized requirement in [X-Fleet] section: {key:?}"
        ));
    }
    for line in x_fleet::ignored_metadata(file) {
        tell(format!(
            "WARNING: Unit {name}: {line} in [X-Fleet] is ignored: it is not MachineMetadata=KEY=VALUE"
        ));
    }
    Ok(())
}

/// The unit and what it says about machines, behind fleet's words for options that do not go together.
fn at_odds(name: &str, file: &UnitFile) -> String {
    let options = file
        .options
        .iter()
        .filter(|option| option.section == x_fleet::SECTION);
    let written: Vec<String> = options
        .map(|option| format!("{}={}", option.name, option.value))
        .collect();
    format!(" (in [{}] of {name}: {})", x_fleet::SECTION, written.join(", "))
}

/// For a name nobody knows: maybe it is that of a file that is no unit file by its suffix.
pub(super) fn misnamed(argument: &str, name: &str) -> String {
    let path = Path::new(argument);
    if service_of(path).is_some() {
        return format!("; there is no file {argument}");
    }
    let other = path.file_name().is_some_and(|file| file != name);
    if other && path.is_file() {
        format!(
            "; there is a file {argument}, but its name ends in no unit's suffix: call it {name}, for example"
        )
    } else {
        String::new()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_says_nothing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, why) in [
            ("empty.service", " \n", Some("the file is empty")),
            (
                "bare.service",
                "ExecStart=/bin/true\n",
                Some("it has no [Section]"),
            ),
            (
                "header.service",
                "[Service]\n",
                Some("it has no [Section] with an option"),
            ),
            ("good.service", "[Service]\nExecStart=/bin/true\n", None),
            ("empty.container", "", Some("the file is empty")),
            (
                "odd.container",
                "[Container]\nImage=a\nPod=b\n",
                Some("line 3: Pod=: "),
            ),
            ("good.container", "[Container]\nImage=a\n", None),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let argument = path.display().to_string();
            match (check(&argument), why) {
                (Ok(()), None) => {}
                (Err(said), Some(why)) => assert!(said.contains(why) && said.contains(&argument), "{said}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
        assert_eq!(check("/nowhere/a.service"), Ok(()));
    }

    #[test]
    fn files_are_looked_for_beside_the_argument() {
        for (argument, name, path) in [
            ("web", "web.service", "web.service"),
            ("units/web.service", "web@.service", "units/web@.service"),
            ("units/web@1.container", "web@1.service", "units/web@1.container"),
            ("web@1.container", "web@.service", "web@.container"),
        ] {
            assert_eq!(path_of(argument, name), Path::new(path));
        }
    }

    #[test]
    fn a_container_is_read_as_its_service() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web@.container");
        std::fs::write(&path, "[Container]\nImage=a\n").unwrap();
        let (shown, file) = read(&path, true).unwrap().unwrap();
        assert_eq!(shown, path.display().to_string());
        let commands: Vec<&str> = file.values("Service", "ExecStart").collect();
        assert_eq!(commands, ["/usr/bin/docker run --name=systemd-%p_%i --rm a"]);
    }

    #[test]
    fn a_file_without_a_units_suffix_is_recognized() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.conf");
        std::fs::write(&path, "[Service]\n").unwrap();
        let argument = path.display().to_string();
        let said = misnamed(&argument, &UnitName::complete(&argument));
        assert!(
            said.contains(&argument) && said.contains("call it web.conf.service"),
            "{said}"
        );
        assert_eq!(misnamed("/nowhere/web", "web.service"), "");
        assert_eq!(
            misnamed("web.container", "web.service"),
            "; there is no file web.container"
        );
    }

    #[test]
    fn options_at_odds_are_shown_as_they_are_written() {
        let file = UnitFile::parse("[Service]\nExecStart=/a\n[X-Fleet]\nGlobal=yes\nMachineOf=db.service\n")
            .unwrap();
        let said = at_odds("web.service", &file);
        assert_eq!(
            said,
            " (in [X-Fleet] of web.service: Global=yes, MachineOf=db.service)"
        );
    }
}
