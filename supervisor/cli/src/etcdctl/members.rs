//! `member list`, `add`, `remove`, `update`.

use clap::ArgMatches;
use hyper::Method;
use serde_json::json;

use super::cluster::{Cluster, Member, accepted, read_member_answer};
use super::fault::{CallFault, Failure};
use super::settings::Settings;
use crate::go;
use crate::http::Request;
use crate::terminal::say;

/// Runs `member <verb>`.
pub(super) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<(), Failure> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Failure::arguments("member list, add, remove or update"));
    };
    let words: Vec<&str> = matches
        .get_many::<String>("rest")
        .unwrap_or_default()
        .map(String::as_str)
        .collect();
    match (verb, words.as_slice()) {
        ("list", []) => list(&mut Cluster::synced(settings).await?).await,
        ("list", _) => Err(Failure::arguments("No arguments accepted")),
        ("add", [name, url]) => add(&mut Cluster::synced(settings).await?, name, url).await,
        ("add", _) => Err(Failure::arguments("Provide a name and a single member peerURL")),
        ("remove", [id]) => remove(&mut Cluster::synced(settings).await?, id).await,
        ("remove", _) => Err(Failure::arguments("Provide a single member ID")),
        (_, [id, urls]) => update(&mut Cluster::synced(settings).await?, id, urls).await,
        _ => {
            let example = "(0xabcd http://example.com,http://example1.com)";
            Err(Failure::arguments(format!(
                "Provide an ID and a list of comma separated peerURL {example}"
            )))
        }
    }
}

async fn list(cluster: &mut Cluster) -> Result<(), Failure> {
    let members = cluster.list_members().await.map_err(plain)?;
    let answer = cluster
        .call(&Request::new(Method::GET, "/v2/members/leader"))
        .await;
    let leader: Result<Member, _> = answer.and_then(|answer| read_member_answer(&answer));
    let leader = leader.map_err(|fault| Failure::arguments(format!("Failed to get leader:  {fault}")))?;
    for member in &members {
        say(line(member, member.id == leader.id));
    }
    Ok(())
}

fn line(member: &Member, is_leader: bool) -> String {
    let peers = member.peer_urls.join(",");
    if member.name.is_empty() {
        return format!("{}[unstarted]: peerURLs={peers}", member.id);
    }
    let clients = member.client_urls.join(",");
    format!(
        "{}: name={} peerURLs={peers} clientURLs={clients} isLeader={is_leader}",
        member.id, member.name
    )
}

async fn add(cluster: &mut Cluster, name: &str, url: &str) -> Result<(), Failure> {
    let added: Member = call(cluster, Method::POST, "/v2/members", &[url]).await?;
    say(format!(
        "Added member named {name} with ID {} to cluster",
        added.id
    ));
    let members = cluster.list_members().await.map_err(plain)?;
    let peers = members.iter().flat_map(|member| {
        let shown = if member.id == added.id { name } else { &member.name };
        member.peer_urls.iter().map(move |url| format!("{shown}={url}"))
    });
    let peers = peers.collect::<Vec<_>>().join(",");
    say(format!(
        "\nETCD_NAME={name:?}\nETCD_INITIAL_CLUSTER={peers:?}\nETCD_INITIAL_CLUSTER_STATE=\"existing\""
    ));
    Ok(())
}

async fn remove(cluster: &mut Cluster, id: &str) -> Result<(), Failure> {
    let members = cluster.list_members().await.map_err(|fault| {
        Failure::arguments(format!("Error while verifying ID against known members: {fault}"))
    })?;
    if !members.iter().any(|member| member.id == id) {
        return Err(Failure::arguments(unknown(&members, id)));
    }
    let request = Request::new(Method::DELETE, member_path(id));
    let answer = cluster.call(&request).await.and_then(|answer| accepted(&answer));
    answer.map_err(|fault| {
        Failure::arguments(format!("Received an error trying to remove member {id}: {fault}"))
    })?;
    say(format!("Removed member {id} from cluster"));
    Ok(())
}

fn unknown(members: &[Member], id: &str) -> String {
    let mut text = String::new();
    for member in members.iter().filter(|member| member.name == id) {
        text.push_str(&format!(
            "Found a member named {id}; if this is correct, please use its ID, eg:\n\tetcdctl member remove {}\n",
            member.id
        ));
    }
    format!("{text}Couldn't find a member in the cluster with an ID of {id}.")
}

async fn update(cluster: &mut Cluster, id: &str, urls: &str) -> Result<(), Failure> {
    let urls: Vec<&str> = urls.split(',').collect();
    let request = Request::new(Method::PUT, member_path(id)).with_body("application/json", peer_urls(&urls));
    cluster
        .call(&request)
        .await
        .and_then(|answer| accepted(&answer))
        .map_err(plain)?;
    say(format!("Updated member with ID {id} in cluster"));
    Ok(())
}

async fn call(cluster: &mut Cluster, method: Method, path: &str, urls: &[&str]) -> Result<Member, Failure> {
    let request = Request::new(method, path).with_body("application/json", peer_urls(urls));
    cluster
        .call(&request)
        .await
        .and_then(|answer| read_member_answer(&answer))
        .map_err(plain)
}

fn member_path(id: &str) -> String {
    go::escape_path(&go::clean(&format!("/v2/members/{id}")))
}

fn peer_urls(urls: &[&str]) -> String {
    go::to_json(&json!({ "peerURLs": urls }))
}

/// The member commands print the fault alone and exit with 1.
#[allow(clippy::needless_pass_by_value)] // the shape that map_err wants
fn plain(fault: CallFault) -> Failure {
    Failure::arguments(fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_one_line_each() {
        let mut member = Member {
            id: "bfb38348b1f5c11d".into(),
            name: "n1".into(),
            peer_urls: vec!["http://127.0.0.1:24012".into()],
            client_urls: vec!["http://127.0.0.1:24011".into()],
        };
        let expected = "bfb38348b1f5c11d: name=n1 peerURLs=http://127.0.0.1:24012 clientURLs=http://127.0.0.1:24011 isLeader=true";
        assert_eq!(line(&member, true), expected);
        member.name.clear();
        assert_eq!(
            line(&member, false),
            "bfb38348b1f5c11d[unstarted]: peerURLs=http://127.0.0.1:24012"
        );
    }
}
