//! Whoever follows a company's ledger as it grows, and gets its events as server-sent events.

use super::Service;
use crate::app::AppError;
use crate::app::streams::{NoPlace, StreamPlace};
use crate::app::view::EventView;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::CompanyId;
use tokio::sync::watch;
use uuid::Uuid;

/// How often an idle stream sends a comment, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// These events as they come, kept by nobody on the way.
pub fn sent(events: impl Stream<Item = Result<Event, AppError>> + Send + 'static) -> Response {
    let answer = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    let kept_by_nobody = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ([unbuffered, kept_by_nobody], answer).into_response()
}

/// A place in a company's ledger that moves on with it.
pub struct Follower {
    service: Arc<Service>,
    company: CompanyId,
    /// The last position that was read.
    position: u64,
    /// How long it waits for something new at most.
    patience: Duration,
    appended: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// Held as long as the stream lives.
    _place: StreamPlace,
}

impl Follower {
    /// Follows the company's ledger from behind the position on.
    ///
    /// # Errors
    /// When as many do already as may with this credential, of this company or at all.
    pub fn begin(
        service: Arc<Service>,
        credential: Uuid,
        company: CompanyId,
        position: u64,
        patience: Duration,
    ) -> Result<Self, NoPlace> {
        Ok(Self {
            _place: service.app.streams.begin(credential, company)?,
            appended: service.app.store().watch(),
            stopping: service.stopping.clone(),
            service,
            company,
            position,
            patience,
        })
    }

    /// Whether the service is about to stop, and the stream over.
    pub fn is_over(&self) -> bool {
        *self.stopping.borrow()
    }

    /// The events behind those that it gave before; none after a while in which there were none.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn next_page(&mut self) -> Result<Vec<EventView>, AppError> {
        // Seen before reading: what is appended from here on wakes the wait below.
        self.appended.borrow_and_update();
        let page = self.service.app.events_after(self.company, self.position).await;
        let page = page.inspect_err(|error| tracing::error!(%error, "a stream was cut"))?;
        match page.last() {
            Some(last) => self.position = last.position,
            None => self.wait().await,
        }
        Ok(page)
    }

    /// Waits until there is something to look at.
    async fn wait(&mut self) {
        let stopped = async {
            if self.stopping.wait_for(|stopping| *stopping).await.is_err() {
                // Nobody is left who could stop the service.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = self.appended.changed() => {}
            () = stopped => {}
            () = tokio::time::sleep(self.patience) => {}
        }
    }
}
