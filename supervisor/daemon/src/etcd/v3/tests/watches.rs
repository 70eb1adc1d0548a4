//! Watches: complete, ordered, without duplicates, whoever is slow.

use std::collections::BTreeMap;

use bytes::Bytes;
use corten_etcd_api::etcdserverpb::kv_client::KvClient;
use corten_etcd_api::etcdserverpb::lease_client::LeaseClient;
use corten_etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use corten_etcd_api::etcdserverpb::request_op::Request as Operation;
use corten_etcd_api::etcdserverpb::watch_client::WatchClient;
use corten_etcd_api::etcdserverpb::watch_request::RequestUnion;
use corten_etcd_api::etcdserverpb::{
    RangeRequest, RequestOp, StatusRequest, TxnRequest, WatchCreateRequest, WatchProgressRequest,
    WatchRequest, WatchResponse,
};
use corten_etcd_api::v3electionpb::LeaderRequest;
use corten_etcd_api::v3electionpb::election_client::ElectionClient;
use futures_util::stream;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Request, Streaming};

use super::{TTL, connect, put};
use crate::testing::{self, until, within};

/// A watch stream of a client.
pub struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Stream {
    /// One with a token, unless it is empty.
    pub async fn open(channel: Channel, token: &str) -> Stream {
        Stream::open_with(channel, "token", token).await
    }

    /// One that says something of itself, unless it is empty.
    async fn open_with(channel: Channel, name: &'static str, said: &str) -> Stream {
        let (requests, mut asked) = mpsc::channel(16);
        let mut asked = Request::new(stream::poll_fn(move |cx| asked.poll_recv(cx)));
        if !said.is_empty() {
            asked.metadata_mut().insert(name, said.parse().unwrap());
        }
        let answers = WatchClient::new(channel).watch(asked).await.unwrap().into_inner();
        Stream { requests, answers }
    }

    pub async fn create(&mut self, create: WatchCreateRequest) {
        let answer = self.ask_for(create).await;
        assert!(answer.created && !answer.canceled, "{answer:?}");
    }

    /// The answer to a wish to watch.
    pub async fn ask_for(&mut self, create: WatchCreateRequest) -> WatchResponse {
        self.ask(RequestUnion::CreateRequest(create)).await;
        self.next().await
    }

    async fn ask(&self, request: RequestUnion) {
        let request = WatchRequest {
            request_union: Some(request),
        };
        self.requests.send(request).await.unwrap();
    }

    async fn next(&mut self) -> WatchResponse {
        within("a watch response", self.answers.message())
            .await
            .unwrap()
            .unwrap()
    }

    /// Revisions of the next events, until `last`, each with its number of events; asserts that they come in order.
    async fn until(&mut self, last: i64) -> BTreeMap<i64, usize> {
        let mut seen = BTreeMap::new();
        while seen.last_key_value().is_none_or(|(revision, _)| *revision < last) {
            let mut in_message = BTreeMap::new();
            for event in self.next().await.events {
                *in_message.entry(event.kv.unwrap().mod_revision).or_insert(0) += 1;
            }
            for (revision, count) in in_message {
                assert!(
                    seen.keys().all(|before| *before < revision),
                    "{revision} twice, or late"
                );
                seen.insert(revision, count);
            }
        }
        seen
    }
}

fn below(prefix: &'static [u8], end: &'static [u8], start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key: Bytes::from_static(prefix),
        range_end: Bytes::from_static(end),
        start_revision,
        ..WatchCreateRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_anything_and_nobody_waits_for_the_slow() {
    const WRITERS: usize = 16;
    const EACH: usize = 200;
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].clients;
    let mut slow = Stream::open(connect(to).await, "").await;
    slow.create(below(b"k/", b"k0", 0)).await;
    slow.create(below(b"k/0/", b"k/00", 0)).await;
    let mut live = Stream::open(connect(to).await, "").await;
    live.create(below(b"k/", b"k0", 0)).await;
    let writers = (0..WRITERS).map(|writer| async move {
        let mut kv = KvClient::new(connect(to).await);
        let value = "v".repeat(4096);
        for at in 0..EACH {
            kv.put(put(&format!("k/{writer}/{at}"), &value)).await.unwrap();
        }
    });
    let writing = futures_util::future::join_all(writers);
    // Begun while writes go on, from the past.
    let late = async {
        let mut late = Stream::open(connect(to).await, "").await;
        late.create(below(b"k/", b"k0", 2)).await;
        late
    };
    let (_, mut late) = tokio::join!(writing, late);
    let total = WRITERS * EACH;
    let last = 1 + total as i64;
    for stream in [&mut live, &mut late] {
        let seen = stream.until(last).await;
        assert_eq!(seen.len(), total);
    }
    // Both watchers of the slow one share a stream, so revisions of the second come in between.
    let (mut all, mut some) = (Vec::new(), Vec::new());
    while all.len() < total || some.len() < EACH {
        let response = slow.next().await;
        let seen = if response.watch_id == 0 {
            &mut all
        } else {
            &mut some
        };
        seen.extend(
            response
                .events
                .into_iter()
                .map(|event| event.kv.unwrap().mod_revision),
        );
    }
    assert_eq!(all, (2..=last).collect::<Vec<_>>());
    assert!(some.is_sorted() && some.len() == EACH);
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_comes_whole_and_progress_is_told() {
    let mut machines = testing::cluster(1, TTL).await;
    let channel = connect(machines[0].clients).await;
    let mut kv = KvClient::new(channel.clone());
    let mut live = Stream::open(channel.clone(), "").await;
    live.create(below(b"t", b"u", 0)).await;
    let success = (0..100).map(|at| RequestOp {
        request: Some(Operation::RequestPut(put(&format!("t{at}"), &"v".repeat(10_000)))),
    });
    let txn = TxnRequest {
        success: success.collect(),
        ..TxnRequest::default()
    };
    for _ in 0..20 {
        kv.txn(txn.clone()).await.unwrap();
    }
    let mut past = Stream::open(channel, "").await;
    past.create(WatchCreateRequest {
        fragment: true,
        prev_kv: true,
        ..below(b"t", b"u", 1)
    })
    .await;
    let seen = live.until(21).await;
    assert!(
        seen.len() == 20 && seen.values().all(|count| *count == 100),
        "{seen:?}"
    );
    // Read from the history it comes in parts; joined, each event is there, with what was before it.
    let (mut events, mut previous, mut parts) = (Vec::new(), 0, 0);
    while events.len() < 2000 {
        let response = past.next().await;
        parts += usize::from(response.fragment);
        for event in response.events {
            previous += usize::from(event.prev_kv.is_some());
            events.push(event.kv.unwrap().mod_revision);
        }
    }
    assert!(events.is_sorted() && events.len() == 2000 && previous == 1900 && parts > 0);
    past.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
        .await;
    let progress = past.next().await;
    assert_eq!((progress.watch_id, progress.header.unwrap().revision), (-1, 21));
    machines[0].stop().await;
    let ended = within("the end of a watch", live.answers.message())
        .await
        .unwrap_err();
    assert_eq!(ended.message(), "etcdserver: server stopped");
}

/// A request that wants a leader.
fn under_leader<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("hasleader", "true".parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_a_leader_leaves_one_that_nobody_follows() {
    let mut machines = testing::cluster(3, TTL).await;
    let leads = |machine: &testing::Machine| {
        let node = &machine.supervisor.as_ref().unwrap().node;
        *node.has_leader().borrow() && node.leading_term().is_some()
    };
    let leader = until("a leader", async || machines.iter().position(leads)).await;
    let channel = connect(machines[leader].clients).await;
    KvClient::new(channel.clone()).put(put("k", "v")).await.unwrap();
    let create = WatchCreateRequest {
        key: "k".into(),
        ..WatchCreateRequest::default()
    };
    let mut wants = Stream::open_with(channel.clone(), "hasleader", "true").await;
    wants.create(create.clone()).await;
    let mut whoever = Stream::open(channel.clone(), "").await;
    whoever.create(create).await;

    let observe = LeaderRequest {
        name: "nobody".into(),
    };
    let mut elections = ElectionClient::new(channel.clone());
    let observed = elections.observe(under_leader(observe)).await;
    let mut observed = observed.unwrap().into_inner();
    let mut leases = LeaseClient::new(channel.clone());
    let kept = leases.lease_keep_alive(under_leader(stream::pending())).await;
    let mut kept = kept.unwrap().into_inner();

    for other in [(leader + 1) % 3, (leader + 2) % 3] {
        machines[other].stop().await;
    }
    let told = within("the observer's end", observed.message())
        .await
        .unwrap_err();
    assert_eq!(told.message(), "etcdserver: no leader");
    let told = within("the keeper's end", kept.message()).await.unwrap_err();
    assert_eq!(told.message(), "etcdserver: no leader");
    let told = within("the stream's end", wants.answers.message())
        .await
        .unwrap_err();
    assert_eq!(told.message(), "etcdserver: no leader");
    let read = |wants: bool| {
        let mut kv = KvClient::new(channel.clone());
        let mut range = Request::new(RangeRequest {
            key: "k".into(),
            serializable: true,
            ..RangeRequest::default()
        });
        if wants {
            range.metadata_mut().insert("hasleader", "true".parse().unwrap());
        }
        async move { kv.range(range).await }
    };
    assert_eq!(read(true).await.unwrap_err().message(), "etcdserver: no leader");
    assert_eq!(read(false).await.unwrap().into_inner().count, 1);
    let status = MaintenanceClient::new(channel.clone())
        .status(StatusRequest {})
        .await;
    let status = status.unwrap().into_inner();
    assert_eq!(
        (status.leader, &status.errors[..]),
        (0, &["etcdserver: no leader".to_owned()][..])
    );
    whoever
        .ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
        .await;
    assert!(!whoever.next().await.canceled, "who did not ask for one goes on");
    machines[leader].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_asks_for_too_much_is_told_so() {
    let mut machines = testing::cluster(1, TTL).await;
    let mut watches = Stream::open(connect(machines[0].clients).await, "").await;
    let create = WatchCreateRequest {
        key: vec![b'k'; 3 << 20].into(),
        ..WatchCreateRequest::default()
    };
    watches.ask(RequestUnion::CreateRequest(create)).await;
    let told = within("the stream's end", watches.answers.message())
        .await
        .unwrap_err();
    assert_eq!(told.code(), Code::ResourceExhausted);
    let text = told.message();
    assert!(
        text.starts_with("grpc: received message larger than max (") && text.ends_with(" vs. 2097152)"),
        "{text}"
    );
    machines[0].stop().await;
}
