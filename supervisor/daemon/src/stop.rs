//! The one signal every task listens to: the supervisor stops.

use tokio::sync::watch;

/// Raises the signal, once.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Waits for it.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// A stopper and what waits for it.
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Everything that waits goes on.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Returns once the supervisor stops (or nobody is left who could say so).
    pub async fn stopped(&mut self) {
        while !*self.0.borrow_and_update() {
            if self.0.changed().await.is_err() {
                return;
            }
        }
    }
}
