//! The events over a WebSocket.

use futures_util::{SinkExt, StreamExt};
use poem::web::websocket::{Message as Frame, WebSocket, WebSocketConfig, WebSocketStream};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaResponse, MetaResponses, Registry};

use super::super::super::server::Place;
use super::right::Right;
use super::sse::{HEARTBEAT, Source};
use super::subscriber::Subscriber;

/// What a client sends is ignored; more than this at once ends the connection.
const MOST: usize = 4 << 10;

/// The answer that makes a WebSocket of the connection.
pub struct Upgraded(Response);

/// Answers, and sends from then on what the subscriber is told. The connection keeps its place among those that are
/// served at once.
pub fn begin(socket: WebSocket, subscriber: Subscriber, right: Right, place: Place) -> Upgraded {
    let config =
        WebSocketConfig::default().max_message_size(Some(MOST)).max_frame_size(Some(MOST)).read_buffer_size(MOST);
    let upgraded = socket.config(config).on_upgrade(move |socket| async move {
        serve(socket, subscriber, right).await;
        drop(place);
    });
    Upgraded(upgraded.into_response())
}

/// Sends until either end has enough. A client that answers nothing, not even to pings, is gone.
async fn serve(socket: WebSocketStream, mut subscriber: Subscriber, mut right: Right) {
    let (mut out, mut from_client) = socket.split();
    let mut silent_since = tokio::time::Instant::now();
    loop {
        tokio::select! {
            messages = subscriber.next() => {
                let Some(messages) = messages else { break };
                if !right.lasts().await {
                    break;
                }
                if silent_since.elapsed() > 3 * HEARTBEAT {
                    return;
                }
                let quiet = messages.is_empty();
                for message in messages {
                    if out.feed(Frame::text(message.to_json())).await.is_err() {
                        return;
                    }
                }
                if quiet && out.feed(Frame::ping(Vec::<u8>::new())).await.is_err() || out.flush().await.is_err() {
                    return;
                }
            }
            frame = from_client.next() => match frame {
                // tungstenite answers pings and a close by itself, with what is sent next.
                Some(Ok(frame)) if !frame.is_close() => silent_since = tokio::time::Instant::now(),
                _ => break,
            },
        }
    }
    drop(out.close().await);
}

impl IntoResponse for Upgraded {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for Upgraded {
    fn meta() -> MetaResponses {
        let response = MetaResponse {
            description: "The connection is a WebSocket from now on.",
            status: Some(101),
            status_range: None,
            content: Vec::new(),
            headers: Vec::new(),
        };
        MetaResponses { responses: vec![response] }
    }

    fn register(_registry: &mut Registry) {}
}
