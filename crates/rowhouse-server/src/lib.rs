//! HTTP: the gate, the routes by domain and the OpenAPI document.
