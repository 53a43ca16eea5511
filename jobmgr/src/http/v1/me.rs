//! Who asks.

use std::sync::Arc;

use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use super::super::classic::Compact;
use super::super::docs::Tag;
use super::super::{Api, Caller};
use super::tokens::TokenInfo;

/// `GET /v1/me`
pub struct Me {
    /// What it answers from.
    pub api: Arc<Api>,
}

#[OpenApi]
impl Me {
    /// Say who calls
    ///
    /// The user whose jobs the caller submits, and what the caller may do. Without a token, where none is needed: user 1,
    /// who may do everything.
    #[oai(path = "/v1/me", method = "get", operation_id = "getMe", tag = "Tag::Server")]
    async fn me(&self, caller: Caller) -> MeAnswer {
        let max_queued = self.api.gate.max_queued(&caller);
        let requests_per_minute = self.api.gate.requests_per_minute(&caller);
        MeAnswer::Me(Compact(MeInfo {
            user_id: caller.user_id,
            scopes: caller.scopes.words().map(str::to_owned).collect(),
            max_queued,
            requests_per_minute,
            token: caller.token.as_deref().map(TokenInfo::of),
        }))
    }
}

/// Who calls.
#[derive(Object, Serialize)]
#[oai(rename = "Me", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct MeInfo {
    /// The user whose jobs the caller submits.
    #[oai(rename = "userID")]
    #[serde(rename = "userID")]
    user_id: i64,
    /// What the caller may do: `read`, `submit`, `admin`.
    scopes: Vec<String>,
    /// How many jobs of this user may be queued.
    max_queued: u64,
    /// How many requests may come in a minute; null: any number.
    #[oai(nullable)]
    requests_per_minute: Option<u64>,
    // No doc comment: the reference would become an `allOf` of the reference and the comment.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<TokenInfo>,
}

#[derive(ApiResponse)]
enum MeAnswer {
    /// The caller.
    #[oai(status = 200)]
    Me(Compact<MeInfo>),
}
