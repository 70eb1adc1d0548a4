//! Requests of nodes to nodes: from the outbox to the network, from the network into the node that serves them.

use std::sync::Arc;

use axum::body::Body;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::super::machine::{Did, Outbox, leave};
use super::super::net::{Arrival, FASTEST_MS, Served};
use super::{Event, World};

impl World {
    pub(super) fn arrives(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Answer(ticket, answer) => self.net.arrived(ticket, answer),
            Arrival::Request { to, ticket } => {
                let machine = &self.machines[to];
                let router = machine.running.as_ref().and_then(|running| {
                    (!machine.disk.is_off()).then_some(())?;
                    Some((running.router.clone()?, Arc::clone(&running.around)))
                });
                let Some((router, around)) = router else {
                    if let Some((at, arrival)) = self.net.refuse(ticket, self.now_ms) {
                        self.at(at, Event::Arrives(arrival));
                    }
                    return;
                };
                let Some(request) = self.net.request(ticket) else {
                    return;
                };
                let outbox = Arc::clone(&self.outbox);
                let mut serving = Serving {
                    ticket,
                    machine: to,
                    boot: machine.boot,
                    outbox,
                    answer: None,
                };
                machine.spawn(async move {
                    let serving = &mut serving;
                    let request = request.map(Body::from);
                    let Ok(answer) = router.oneshot(request).await;
                    let (head, body) = answer.into_parts();
                    if let Ok(body) = body.collect().await {
                        let answer = hyper::Response::from_parts(head, body.to_bytes());
                        serving.answer = Some((around.at_ms(), answer));
                    }
                });
            }
        }
    }

    /// Puts what the nodes did on its way.
    pub(super) fn collect(&mut self) -> Result<(), String> {
        let did = std::mem::take(&mut *self.outbox.lock().expect("one thread only"));
        for did in did {
            match did {
                Did::Asked {
                    from,
                    at_ms,
                    request,
                    reply,
                } => {
                    if self.machines[from].disk.is_off() {
                        continue;
                    }
                    let host = request.uri().host().unwrap_or_default();
                    let to = host[1..]
                        .parse()
                        .map_err(|_| format!("no machine is called {host:?}"))?;
                    for (at, arrival) in self.net.ask(at_ms, from, to, request, reply) {
                        self.at(at, Event::Arrives(arrival));
                    }
                }
                Did::Answered {
                    ticket,
                    machine,
                    boot,
                    at_ms,
                    answer,
                } => {
                    let served = match answer {
                        Some(answer) => Served::Answer(answer),
                        None if self.machines[machine].boot == boot => Served::Reset,
                        None => Served::Silence,
                    };
                    if let Some((at, arrival)) = self.net.answer(ticket, at_ms.max(self.now_ms), served) {
                        self.at(at, Event::Arrives(arrival));
                    }
                }
                Did::Ended {
                    operation,
                    at_ms,
                    end,
                } => self.ended(operation, at_ms.min(self.now_ms + FASTEST_MS), end),
                Did::Started {
                    machine,
                    start,
                    member,
                } => self.started(machine, start, member)?,
            }
        }
        if self.now_ms % 500 < FASTEST_MS {
            self.net.tidy(self.now_ms);
        }
        Ok(())
    }
}

/// Tells how a request was answered, even if the node dies over it.
struct Serving {
    ticket: u64,
    machine: usize,
    boot: u64,
    outbox: Outbox,
    answer: Option<(u64, hyper::Response<bytes::Bytes>)>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let (at_ms, answer) = match self.answer.take() {
            Some((at_ms, answer)) => (at_ms, Some(answer)),
            None => (0, None),
        };
        let Serving {
            ticket,
            machine,
            boot,
            ..
        } = *self;
        leave(
            &self.outbox,
            Did::Answered {
                ticket,
                machine,
                boot,
                at_ms,
                answer,
            },
        );
    }
}
