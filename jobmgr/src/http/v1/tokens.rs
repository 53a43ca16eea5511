//! Who may call: making tokens, listing them, ending them.

use std::sync::Arc;

use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use serde_json::Value;

use super::super::classic::Compact;
use super::super::docs::Tag;
use super::super::{Api, Caller};
use super::failed::{Causes, Failed};
use super::jobs::JsonBody;
use super::json;
use super::parameter::Path;
use super::problem::{Code, Problem};
use super::timestamp::Timestamp;
use crate::auth::{NewToken, Scope, Scopes, Secret, Token, check_name};
use crate::domain::duration::age::Age;

/// The largest body in bytes.
const MAX: u64 = 64 << 10;
/// The most that a limit may be.
const MOST: i64 = 1_000_000_000;

/// `GET` and `POST /v1/tokens`, `DELETE /v1/tokens/{id}`
pub struct Tokens {
    /// What they answer from.
    pub api: Arc<Api>,
}

/// What may go wrong with all of them.
struct OfAll;

impl Causes for OfAll {
    const CODES: &'static [Code] = &[Code::Unavailable];
}

/// What may go wrong with a new one.
struct OfNew;

impl Causes for OfNew {
    const CODES: &'static [Code] = &[
        Code::InvalidJson,
        Code::Incomplete,
        Code::Conflict,
        Code::TooLarge,
        Code::UnsupportedMediaType,
        Code::InvalidParameters,
        Code::Unavailable,
    ];
}

/// What may go wrong with one.
struct OfOne;

impl Causes for OfOne {
    const CODES: &'static [Code] = &[Code::NotFound, Code::Unavailable];
}

#[OpenApi]
impl Tokens {
    /// List the tokens
    ///
    /// All that were ever made, the newest first; never their texts.
    #[oai(path = "/v1/tokens", method = "get", operation_id = "listTokens", tag = "Tag::Server")]
    async fn list(&self) -> Result<ListAnswer, Failed<OfAll>> {
        let tokens = self.api.store.tokens().await.map_err(|error| Problem::failed(&error))?;
        let items = tokens.iter().rev().map(TokenInfo::of).collect();
        Ok(ListAnswer::Tokens(Compact(TokenList { items, next: None })))
    }

    /// Make a token
    ///
    /// The answer has its text, `secret`, which nobody can find out later. It holds on this server at once, on others
    /// within a second.
    #[oai(path = "/v1/tokens", method = "post", operation_id = "createToken", tag = "Tag::Server")]
    async fn create(&self, caller: Caller, body: JsonBody<CreateToken, MAX>) -> Result<CreateAnswer, Failed<OfNew>> {
        let (object, _) = body.0?;
        let secret = Secret::random().map_err(|error| {
            tracing::error!(error, "can't make a token");
            Problem::unavailable()
        })?;
        let new = read(object, &secret)?;
        let name = new.name.clone();
        let made = self.api.store.create_token(new).await.map_err(|error| Problem::failed(&error))?;
        let token = made.ok_or_else(|| Problem::new(Code::Conflict, format!("there is a token {name:?} already")))?;
        self.api.gate.forget();
        let target = format!("token {} {} (user {}, {})", token.id, token.name, token.user_id, token.scopes);
        self.api.audit.note(&caller, "token.create", target);
        let secret = secret.reveal().to_owned();
        Ok(CreateAnswer::Made(Compact(MadeToken { token: TokenInfo::of(&token), secret }), "no-store".into()))
    }

    /// Revoke a token
    ///
    /// It holds no more: on this server at once, on others within a second. Its jobs stay. Asking again does no harm.
    #[oai(path = "/v1/tokens/:id", method = "delete", operation_id = "revokeToken", tag = "Tag::Server")]
    async fn revoke(
        &self,
        caller: Caller,
        /// The token's id.
        id: Path,
    ) -> Result<RevokeAnswer, Failed<OfOne>> {
        let store = &self.api.store;
        let nobody = || Problem::new(Code::NotFound, "there is no such token");
        let id = id.0.ok_or_else(nobody)?;
        let tokens = store.tokens().await.map_err(|error| Problem::failed(&error))?;
        let token = tokens.into_iter().find(|token| token.id == id).ok_or_else(nobody)?;
        if store.revoke_token(id).await.map_err(|error| Problem::failed(&error))? {
            self.api.gate.forget();
            self.api.audit.note(&caller, "token.revoke", format_args!("token {id} {}", token.name));
        }
        Ok(RevokeAnswer::Gone)
    }
}

fn read(mut object: json::Object, secret: &Secret) -> Result<NewToken, Problem> {
    let name = object.text("name").unwrap_or_default();
    if let Err(right) = check_name(&name) {
        object.wrong::<()>("name", right);
    }
    let scopes = scopes(&mut object);
    let user_id = object.integer("userID", 1..=i64::MAX);
    let lasts_ms = lasts(&mut object);
    let max_queued = object.integer("maxQueued", 1..=MOST).map(i64::unsigned_abs);
    let requests_per_minute = object.integer("requestsPerMinute", 1..=MOST).map(i64::unsigned_abs);
    let errors = object.errors();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    Ok(NewToken { name, digest: secret.digest(), user_id, scopes, max_queued, requests_per_minute, lasts_ms })
}

fn scopes(object: &mut json::Object) -> Scopes {
    let right = "must be a list of read, submit and admin, with one of them at least";
    let word =
        |word: &Value| word.as_str().and_then(|word| Scope::ALL.into_iter().find(|scope| scope.as_str() == word));
    let read = match object.take("scopes") {
        Some(Value::Array(words)) if !words.is_empty() => words.iter().map(word).collect::<Option<Vec<Scope>>>(),
        _ => None,
    };
    match read {
        Some(scopes) => Scopes::of(scopes),
        None => object.wrong("scopes", right).unwrap_or_default(),
    }
}

fn lasts(object: &mut json::Object) -> Option<i64> {
    let text = object.text("expiresIn")?;
    match text.parse::<Age>() {
        Ok(Age(lasts)) => i64::try_from(lasts.as_millis()).ok().map(|lasts| lasts.max(1)),
        Err(_) => object.wrong("expiresIn", "use a number with its unit, such as 12h, 30d or 2w"),
    }
}

/// A token; never its text.
#[derive(Object, Serialize)]
#[oai(rename = "Token", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct TokenInfo {
    /// Its number.
    id: i64,
    /// What people call it.
    name: String,
    /// The user whose jobs it submits.
    #[oai(rename = "userID")]
    #[serde(rename = "userID")]
    user_id: i64,
    /// What it may do: `read`, `submit`, `admin`.
    scopes: Vec<String>,
    /// How many jobs of its user may be queued; null: as `[Limits]` says.
    #[oai(nullable)]
    max_queued: Option<u64>,
    /// How many requests it may make in a minute; null: as `[Limits]` says.
    #[oai(nullable)]
    requests_per_minute: Option<u64>,
    /// When it was made.
    created: Timestamp,
    /// When it ends; null: when it is revoked.
    #[oai(nullable)]
    expires: Option<Timestamp>,
    /// When it was revoked.
    #[oai(nullable)]
    revoked: Option<Timestamp>,
    /// When it was last used, to a few minutes.
    #[oai(nullable)]
    used: Option<Timestamp>,
}

impl TokenInfo {
    /// What is shown of a token.
    pub fn of(token: &Token) -> Self {
        Self {
            id: token.id,
            name: token.name.clone(),
            user_id: token.user_id,
            scopes: token.scopes.words().map(str::to_owned).collect(),
            max_queued: token.max_queued,
            requests_per_minute: token.requests_per_minute,
            created: Timestamp::of(token.created_ms),
            expires: token.expires_ms.map(Timestamp::of),
            revoked: token.revoked_ms.map(Timestamp::of),
            used: token.used_ms.map(Timestamp::of),
        }
    }
}

/// Tokens.
#[derive(Object, Serialize)]
struct TokenList {
    /// The newest first.
    items: Vec<TokenInfo>,
    /// Where the next page begins: there is none.
    #[oai(nullable)]
    next: Option<String>,
}

/// A new token, with its text.
#[derive(Object, Serialize)]
#[oai(rename = "CreatedToken")]
struct MadeToken {
    // No doc comment: the reference would become an `allOf` of the reference and the comment.
    token: TokenInfo,
    /// Its text, for `Authorization: Bearer`; it is shown this once.
    secret: String,
}

// What the OpenAPI document shows; `read` reads it.
/// A token to be made.
#[derive(Object)]
#[oai(rename = "CreateToken", rename_all = "camelCase", example)]
struct CreateToken {
    /// What people call it: up to 100 of `A-Z a-z 0-9 . _ - @ /`, with a letter among them.
    name: String,
    /// What it may do: `read` (see the jobs of all users), `submit` (submit jobs; see, cancel and retry those of its
    /// user), `admin` (everything).
    #[oai(validator(min_items = "1"))]
    scopes: Vec<String>,
    /// The user whose jobs it submits; left out, one that nobody was before.
    #[oai(rename = "userID", validator(minimum(value = "1")))]
    user_id: Option<i64>,
    /// How long it holds: `12h`, `30d`, `2w`; left out, until it is revoked.
    expires_in: Option<String>,
    /// How many jobs of its user may be queued; left out, as `[Limits]` says.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000000")))]
    max_queued: Option<i64>,
    /// How many requests it may make in a minute; left out, as `[Limits]` says.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000000")))]
    requests_per_minute: Option<i64>,
}

impl Example for CreateToken {
    fn example() -> Self {
        Self {
            name: "ci".into(),
            scopes: vec!["submit".into()],
            user_id: None,
            expires_in: Some("30d".into()),
            max_queued: None,
            requests_per_minute: None,
        }
    }
}

#[derive(ApiResponse)]
enum ListAnswer {
    /// The tokens.
    #[oai(status = 200)]
    Tokens(Compact<TokenList>),
}

#[derive(ApiResponse)]
enum CreateAnswer {
    /// The token is made.
    #[oai(status = 201)]
    Made(
        Compact<MadeToken>,
        /// Always `no-store`: it is a secret.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum RevokeAnswer {
    /// It holds no more.
    #[oai(status = 204)]
    Gone,
}
