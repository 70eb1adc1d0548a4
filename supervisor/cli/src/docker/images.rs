//! `pull`, `images`, `rmi`, `tag`, `load`.

use std::io::{IsTerminal, Read};

use clap::ArgMatches;
use corten_container::containers::Containers;
use corten_container::image::{Image, ImageStore, archive};
use corten_container::reference::Reference;
use serde_json::{Value, json};

use super::failure::{Failure, Outcome, for_each};
use super::options::{all, on, text};
use super::progress::Shown;
use super::table::{Format, Sheet};
use super::{Context, bring, elapsed, shown};

fn reference(name: &str) -> Result<Reference, Failure> {
    Reference::parse(name).map_err(|error| Failure::plain(1, error.to_string()))
}

/// `docker pull`.
pub(super) fn pull(context: &Context, matches: &ArgMatches) -> Outcome {
    let name = text(matches, "name").unwrap_or_default();
    let reference = reference(name)?;
    let quiet = on(matches, "quiet");
    let shown = Shown::new(quiet, false);
    // A tag that was not given is named first.
    let tagged = name
        .rsplit('/')
        .next()
        .is_some_and(|last| last.contains(':') || name.contains('@'));
    if !tagged {
        shown.line("Using default tag: latest");
    }
    bring::pull(
        context,
        &reference,
        &bring::platform(text(matches, "platform"))?,
        &shown,
    )?;
    println!("{reference}");
    Ok(0)
}

/// `docker images`.
pub(super) fn images(context: &Context, matches: &ArgMatches) -> Outcome {
    let images = ImageStore::new(&context.engine).list().map_err(Failure::engine)?;
    let mut filters = Vec::new();
    for filter in all(matches, "filter") {
        let (key, value) = filter
            .split_once('=')
            .ok_or_else(|| Failure::plain(1, format!("invalid filter '{filter}'")))?;
        filters.push((key.to_owned(), value.to_owned()));
    }
    filters.extend(text(matches, "name").map(|name| ("reference".to_owned(), name.to_owned())));
    let digests = on(matches, "digests");
    let mut images: Vec<Image> = images;
    images.sort_by(|a, b| b.file.created.cmp(&a.file.created));
    let mut rows = Vec::new();
    for image in &images {
        for (repository, tag) in names(image) {
            if wanted(image, &repository, &tag, &filters)? {
                rows.push(row(image, &repository, &tag, on(matches, "no-trunc")));
            }
        }
    }
    if on(matches, "quiet") {
        let mut last = None;
        for row in &rows {
            if last != Some(&row["ID"]) {
                println!("{}", row["ID"].as_str().unwrap_or_default());
            }
            last = Some(&row["ID"]);
        }
        return Ok(0);
    }
    const PLAIN: &[(&str, &str)] = &[
        ("REPOSITORY", "Repository"),
        ("TAG", "Tag"),
        ("IMAGE ID", "ID"),
        ("CREATED", "CreatedSince"),
        ("SIZE", "Size"),
    ];
    const DIGESTS: &[(&str, &str)] = &[
        ("REPOSITORY", "Repository"),
        ("TAG", "Tag"),
        ("DIGEST", "Digest"),
        ("IMAGE ID", "ID"),
        ("CREATED", "CreatedSince"),
        ("SIZE", "Size"),
    ];
    let sheet = Sheet {
        columns: if digests { DIGESTS } else { PLAIN },
        all: DIGESTS,
    };
    sheet.print(&Format::parse(text(matches, "format"))?, &rows)?;
    Ok(0)
}

/// Repository and tag of each name; `<none>` where there is none.
fn names(image: &Image) -> Vec<(String, String)> {
    let none = || "<none>".to_owned();
    let split = |name: &String| {
        let parsed = Reference::parse(name).ok()?;
        Some((parsed.familiar_name(), parsed.tag.unwrap_or_else(none)))
    };
    let tags: Vec<_> = image.tags.iter().filter_map(split).collect();
    if !tags.is_empty() {
        return tags;
    }
    let digests: Vec<_> = image
        .digests
        .iter()
        .filter_map(|name| Some((Reference::parse(name).ok()?.familiar_name(), none())))
        .collect();
    if digests.is_empty() {
        vec![(none(), none())]
    } else {
        digests
    }
}

fn row(image: &Image, repository: &str, tag: &str, whole: bool) -> Value {
    let digest = image.digests.iter().find_map(|name| {
        let parsed = Reference::parse(name).ok()?;
        if parsed.familiar_name() == repository {
            parsed.digest
        } else {
            None
        }
    });
    let created = image.file.created.clone().unwrap_or_default();
    json!({
        "ID": if whole { format!("sha256:{}", image.id) } else { image.id[..12].to_owned() },
        "Repository": repository,
        "Tag": tag,
        "Digest": digest.unwrap_or_else(|| "<none>".into()),
        "CreatedSince": elapsed::ago(&created).unwrap_or_else(|| "N/A".into()),
        "CreatedAt": created,
        "Size": shown::size(image.size),
        "Containers": "N/A",
    })
}

fn wanted(image: &Image, repository: &str, tag: &str, filters: &[(String, String)]) -> Result<bool, Failure> {
    let mut fits = true;
    for (key, value) in filters {
        fits &= match key.as_str() {
            "reference" => {
                shown::glob(value, repository) || shown::glob(value, &format!("{repository}:{tag}"))
            }
            "dangling" => (value == "true") == (tag == "<none>" && image.tags.is_empty()),
            "label" => match value.split_once('=') {
                Some((key, value)) => image
                    .file
                    .config
                    .labels
                    .get(key)
                    .is_some_and(|have| have == value),
                None => image.file.config.labels.contains_key(value),
            },
            _ => return Err(Failure::engine(format!("invalid filter '{key}'"))),
        };
    }
    Ok(fits)
}

/// `docker rmi`.
pub(super) fn remove(context: &Context, matches: &ArgMatches) -> Outcome {
    let store = ImageStore::new(&context.engine);
    let containers = Containers::new(&context.engine).list().map_err(Failure::engine)?;
    let used_by = |id: &str| {
        Some(
            containers
                .iter()
                .find(|record| record.image == id)?
                .short_id()
                .to_owned(),
        )
    };
    for_each(all(matches, "names").iter(), |name| {
        for line in store
            .remove(name, on(matches, "force"), used_by)
            .map_err(Failure::engine)?
        {
            println!("{line}");
        }
        Ok(())
    })
}

/// `docker tag`.
pub(super) fn tag(context: &Context, matches: &ArgMatches) -> Outcome {
    let target = reference(text(matches, "new").unwrap_or_default())?;
    if target.digest.is_some() {
        return Err(Failure::plain(
            1,
            "refusing to create a tag with a digest reference",
        ));
    }
    ImageStore::new(&context.engine)
        .tag(text(matches, "name").unwrap_or_default(), &target)
        .map_err(Failure::engine)?;
    Ok(0)
}

/// `docker load`.
pub(super) fn load(context: &Context, matches: &ArgMatches) -> Outcome {
    let store = ImageStore::new(&context.engine);
    let scratch = context.engine.blobs();
    let loaded = match text(matches, "input") {
        Some(path) => {
            std::fs::metadata(path).map_err(|error| Failure::plain(1, format!("open {path}: {error}")))?;
            archive::load(&store, std::path::Path::new(path), &scratch)
        }
        None if std::io::stdin().is_terminal() => {
            return Err(Failure::plain(1, "requested load from stdin, but stdin is empty"));
        }
        None => load_stdin(&store, &scratch)?,
    };
    for image in loaded.map_err(Failure::engine)? {
        match image.names.as_slice() {
            [] => println!("Loaded image ID: sha256:{}", image.id),
            names => names
                .iter()
                .for_each(|name| println!("Loaded image: {}", name.familiar())),
        }
    }
    Ok(0)
}

fn load_stdin(
    store: &ImageStore,
    scratch: &std::path::Path,
) -> Result<Result<Vec<archive::Loaded>, archive::LoadError>, Failure> {
    let path = scratch.join(format!("load-{}-stdin.part", std::process::id()));
    let copied = std::fs::File::create(&path)
        .and_then(|mut file| std::io::copy(&mut std::io::stdin().lock().by_ref(), &mut file));
    let loaded = copied.map(|_| archive::load(store, &path, scratch));
    let _ = std::fs::remove_file(&path);
    loaded.map_err(|error| Failure::plain(1, format!("reading standard input: {error}")))
}
