//! The list of routes. Each entry is at once a route of the router, an operation of the OpenAPI
//! document and a case of the isolation suite, so that none of them can forget one.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};
use serde_json::Value;

use crate::state::ServerState;

/// Who may call a route; the isolation suite chooses its attacks by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// A person who is signed in, whatever the tenant.
    Person,
    /// Who works in the tenant that the request names (claim, header, host, query).
    Tenant,
    /// Who works in the tenant in the path; a stranger gets 404.
    PathTenant,
    /// An operator.
    Operator,
}

/// What is told of a route to people and programs.
#[derive(Debug, Clone)]
pub struct RouteDoc {
    /// The method.
    pub method: Method,
    /// The path, with `{parameters}`.
    pub path: &'static str,
    /// The operation id: verb and noun.
    pub operation: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Whether an API key opens it too, with what it holds.
    pub api_keys: bool,
    /// Whether it opens a session, which a browser may ask for as a cookie.
    pub opens_session: bool,
    /// Names and meanings of query parameters.
    pub query: &'static [(&'static str, &'static str)],
    /// The body's JSON Schema.
    pub body: Option<Value>,
    /// The status of success and the schema of `data`.
    pub success: (u16, Value),
    /// The content type of an answer without the envelope, in the form of a standard.
    pub bare: Option<&'static str>,
    /// Whether requests and refusals have the forms of OAuth.
    pub oauth: bool,
    /// Statuses of refusal, beside those that every route of its access has.
    pub refusals: &'static [u16],
}

impl RouteDoc {
    /// An operation without body and parameters that answers 200 with an object.
    pub(crate) fn new(method: Method, path: &'static str, operation: &'static str, access: Access) -> Self {
        let success = (200, serde_json::json!({ "type": "object" }));
        Self {
            method,
            path,
            operation,
            summary: "",
            access,
            api_keys: false,
            opens_session: false,
            query: &[],
            body: None,
            success,
            bare: None,
            oauth: false,
            refusals: &[],
        }
    }

    pub(crate) fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// Opens it to API keys: for a handler that takes a [`crate::gate::Party`].
    pub(crate) fn for_keys(mut self) -> Self {
        self.api_keys = true;
        self
    }

    /// Lets a browser ask for a cookie: for a handler that takes a [`crate::browser::Holding`].
    pub(crate) fn opens_session(mut self) -> Self {
        self.opens_session = true;
        self
    }

    pub(crate) fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    pub(crate) fn body(mut self, schema: Value) -> Self {
        self.body = Some(schema);
        self
    }

    pub(crate) fn answers(mut self, status: u16, data: Value) -> Self {
        self.success = (status, data);
        self
    }

    pub(crate) fn bare(mut self, content_type: &'static str) -> Self {
        self.bare = Some(content_type);
        self
    }

    /// Takes forms and refuses as OAuth does: for a handler that takes [`crate::form::FormBytes`] and fails
    /// with [`crate::form::OAuthFailure`].
    pub(crate) fn oauth(mut self) -> Self {
        self.oauth = true;
        self
    }

    pub(crate) fn refuses(mut self, statuses: &'static [u16]) -> Self {
        self.refusals = statuses;
        self
    }
}

/// The router under construction, with the list of its routes.
#[derive(Default)]
pub(crate) struct Routes {
    router: Router<ServerState>,
    docs: Vec<RouteDoc>,
}

impl Routes {
    /// Adds one route.
    pub(crate) fn add<H, T>(&mut self, doc: RouteDoc, handler: H)
    where
        H: Handler<T, ServerState>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(doc.method.clone()).expect("routes use the common methods");
        let router = std::mem::take(&mut self.router);
        self.router = router.route(doc.path, on(filter, handler));
        self.docs.push(doc);
    }

    pub(crate) fn into_parts(self) -> (Router<ServerState>, Vec<RouteDoc>) {
        (self.router, self.docs)
    }
}
