//! Which path is which route, which method it answers, and the document that says so.

use hyper::Method;
use serde_json::{Map, Value, json};

use super::meter::Route;
use super::wish::{LONGEST_ID, MOST_ITEMS};

/// Tells the route of a path, and what follows it.
pub fn route(path: &str) -> (Route, &str) {
    let below = |prefix: &str| path.strip_prefix(prefix).filter(|rest| !rest.contains('/'));
    for (prefix, route) in [
        ("/v1/recommendations/", Route::Recommendations),
        ("/v1/similar/", Route::Similar),
        ("/v1/rank/", Route::Rank),
        ("/v1/forget/", Route::Forget),
        ("/health/", Route::Health),
    ] {
        if let Some(rest) = below(prefix) {
            return (route, rest);
        }
    }
    let route = match path {
        "/v1/popular" => Route::Popular,
        "/v1/events" => Route::Events,
        "/recommendations" => Route::Campaign,
        "/personalize-ranking" => Route::Ranking,
        "/metrics" => Route::Metrics,
        "/openapi.json" => Route::Openapi,
        "/practice/table" => Route::Practice,
        _ => Route::None,
    };
    (route, "")
}

/// Returns the method that a route answers; those that read answer HEAD too.
pub fn method(route: Route) -> Method {
    match route {
        Route::Rank | Route::Events | Route::Forget | Route::Campaign | Route::Ranking => Method::POST,
        _ => Method::GET,
    }
}

/// Text without control characters, as a JSON schema's pattern.
const PLAIN: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$";

/// Returns the OpenAPI document; `columns` are the catalogue's, each a filter.
pub fn openapi<'c>(columns: impl Iterator<Item = &'c str>) -> Value {
    let id = |name: &str, what: &str| {
        json!({"name": name, "in": "path", "required": true, "description": what,
               "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_ID, "pattern": PLAIN}})
    };
    let limit = json!({"name": "limit", "in": "query", "description": "how many at most",
                       "schema": {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS, "default": 20}});
    let filters: Vec<Value> = columns
        .map(|column| {
            json!({"name": column, "in": "query", "schema": {"type": "string", "pattern": "[^,\\s-]"},
                   "description": "`a,b` is any of, `-a` is not a; given twice, both must match"})
        })
        .collect();
    let listed = |first: Option<Value>| -> Value {
        first.into_iter().chain([limit.clone()]).chain(filters.iter().cloned()).collect()
    };
    let explained = |mut parameters: Value| {
        let explain = json!({"name": "explain", "in": "query", "schema": {"type": "boolean"},
            "description": "whether each programme says because of what the viewer watched it is there"});
        parameters.as_array_mut().into_iter().for_each(|all| all.push(explain.clone()));
        parameters
    };
    let answer = |name: &str, status: &str, what: &str, more: &[&str]| {
        let mut answers = Map::new();
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        answers.insert(
            status.to_owned(),
            json!({"description": what, "content": {"application/json": {"schema": schema}}}),
        );
        for status in more {
            answers.insert((*status).to_owned(), json!({"$ref": "#/components/responses/Problem"}));
        }
        Value::from(answers)
    };
    let bearer = json!([{"bearer": []}]);
    let body = |name: &str| json!({"required": true, "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}}});
    let reads = ["400", "401", "503"];
    let sends = ["400", "401", "408", "413", "503"];
    let user = || id("user_id", "the viewer");
    let plain = |what: &str, kind: &str| {
        json!({"get": {"summary": what, "security": [], "responses": {
        "200": {"description": what, "content": {kind: {}}}, "503": {"$ref": "#/components/responses/Problem"}}}})
    };
    let aws = |what: &str, asked: &str, given: &str| {
        json!({"post": {"summary": what, "security": [{"bearer": []}, {"sigv4": []}], "requestBody": body(asked),
            "responses": {"200": {"description": what, "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{given}")}}}},
                "default": {"description": "an error in AWS' shape"}}}})
    };
    json!({
        "openapi": "3.1.0",
        "info": {"title": "serin", "version": env!("CARGO_PKG_VERSION"), "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "paths": {
            "/v1/recommendations/{user_id}": {"get": {"summary": "What a viewer is recommended", "security": bearer,
                "parameters": explained(listed(Some(user()))), "responses": answer("Items", "200", "best first", &reads)}},
            "/v1/similar/{item_id}": {"get": {"summary": "Programmes most like one", "security": bearer,
                "parameters": listed(Some(id("item_id", "the programme"))),
                "responses": answer("Items", "200", "most similar first", &["400", "401", "404", "503"])}},
            "/v1/popular": {"get": {"summary": "What everybody gets who has no list", "security": bearer,
                "parameters": listed(None), "responses": answer("Items", "200", "most watched first", &reads)}},
            "/v1/rank/{user_id}": {"post": {"summary": "Orders programmes for a viewer", "security": bearer,
                "parameters": [user()], "requestBody": body("Ranking"), "responses": answer("Items", "200", "best first", &sends)}},
            "/v1/events": {"post": {"summary": "Viewings; the viewer's next answer knows them", "security": bearer,
                "requestBody": body("Events"), "responses": answer("Accepted", "202", "taken in", &sends)}},
            "/v1/forget/{user_id}": {"post": {"summary": "Consent taken back: nothing of the viewer is used from now on",
                "security": bearer, "parameters": [user()], "responses": answer("Forgotten", "202", "forgotten", &sends)}},
            "/recommendations": aws("Amazon Personalize: GetRecommendations", "GetRecommendations", "ItemList"),
            "/personalize-ranking": aws("Amazon Personalize: GetPersonalizedRanking", "GetPersonalizedRanking", "PersonalizedRanking"),
            "/health/live": plain("The process runs", "application/json"),
            "/health/ready": plain("It can answer", "application/json"),
            "/metrics": plain("Prometheus metrics", "text/plain"),
            "/openapi.json": plain("This document", "application/json"),
        },
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "sigv4": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "AWS Signature Version 4, service personalize"},
            },
            "responses": {"Problem": {"description": "RFC 9457", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}},
            "schemas": schemas(),
        },
    })
}

fn schemas() -> Value {
    let text = || json!({"type": "string"});
    let id = || json!({"type": "string", "minLength": 1, "maxLength": LONGEST_ID, "pattern": PLAIN});
    let or_null = |schema: Value| json!({"anyOf": [schema, {"type": "null"}]});
    let filter = || or_null(text());
    let values = || or_null(json!({"type": "object", "additionalProperties": text()}));
    let whole = || json!({"type": "integer", "minimum": 0});
    let event = json!({"type": "object", "required": ["item"], "properties": {
        "user": or_null(id()), "item": id(), "value": or_null(json!({"type": "number", "minimum": 0, "maximum": 1}))}});
    let of_somebody = json!({"allOf": [event, {"required": ["user"], "properties": {"user": id()}}]});
    let scored = json!({"type": "array", "items": {"type": "object", "required": ["itemId"],
        "properties": {"itemId": text(), "score": {"type": "number"},
            "reason": {"type": "string", "description": "why it is there, where the platform has rules"},
            "because": {"type": "string", "description": "what the viewer watched that is most like it, where `explain=true` asks and a model is held"},
            "propensity": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "description": "the chance with which it came to its place"}}}});
    json!({
        "Items": {"type": "object", "required": ["items", "source", "model", "degraded"], "properties": {
            "user": text(), "item": text(), "items": scored, "model": or_null(text()), "degraded": {"type": "boolean"},
            "source": {"enum": ["list", "live", "popular"]}}},
        "Ranking": {"type": "object", "required": ["items"], "properties": {
            "items": {"type": "array", "items": text(), "minItems": 1, "maxItems": MOST_ITEMS}}},
        "Events": {"anyOf": [
            of_somebody,
            {"type": "array", "minItems": 1, "maxItems": MOST_ITEMS, "items": of_somebody},
            {"type": "object", "required": ["user", "events"], "properties": {"user": id(),
                "events": {"type": "array", "minItems": 1, "maxItems": MOST_ITEMS, "items": event}}}]},
        "Accepted": {"type": "object", "required": ["accepted", "without_consent", "unknown_items"], "properties": {
            "accepted": whole(), "without_consent": whole(), "unknown_items": whole()}},
        "Forgotten": {"type": "object", "required": ["user", "forgotten"], "properties": {"user": text(), "forgotten": {"const": true}}},
        "GetRecommendations": {"type": "object", "required": ["campaignArn"], "properties": {
            "campaignArn": text(), "userId": or_null(id()), "itemId": or_null(id()),
            "numResults": or_null(json!({"type": "integer", "minimum": 0, "maximum": MOST_ITEMS})),
            "filterArn": filter(), "filterValues": values()},
            "anyOf": [{"required": ["userId"], "properties": {"userId": id()}}, {"required": ["itemId"], "properties": {"itemId": id()}}]},
        "GetPersonalizedRanking": {"type": "object", "required": ["campaignArn", "userId", "inputList"], "properties": {
            "campaignArn": text(), "userId": id(), "inputList": {"type": "array", "items": text(), "minItems": 1, "maxItems": MOST_ITEMS},
            "filterArn": filter(), "filterValues": values()}},
        "ItemList": {"type": "object", "required": ["itemList", "recommendationId"], "properties": {"itemList": scored, "recommendationId": text()}},
        "PersonalizedRanking": {"type": "object", "required": ["personalizedRanking", "recommendationId"], "properties": {
            "personalizedRanking": scored, "recommendationId": text()}},
        "Problem": {"type": "object", "required": ["type", "title", "status", "detail"], "properties": {
            "type": text(), "title": text(), "status": {"type": "integer"}, "detail": text()}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_and_the_routes_say_the_same() {
        let document = openapi(["channel"].into_iter());
        let paths = document["paths"].as_object().expect("paths");
        let mut told = Vec::new();
        for (path, item) in paths {
            let (route, _) = route(&path.replace("{user_id}", "u").replace("{item_id}", "p"));
            assert!(route != Route::None, "{path}");
            let word = method(route).as_str().to_lowercase();
            assert!(item[&word].is_object() && item.as_object().is_some_and(|i| i.len() == 1), "{path}");
            told.push(route);
        }
        for route in super::super::meter::ROUTES.map(|(route, _)| route) {
            // The local stack alone has the practised table.
            assert!(
                matches!(route, Route::None | Route::Practice) || told.contains(&route),
                "{route:?} is not in the document"
            );
        }
        let text = document.to_string();
        for name in text.split("#/components/schemas/").skip(1).filter_map(|t| t.split('"').next()) {
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }

    #[test]
    fn tricks_with_paths_find_no_route() {
        for path in [
            "/",
            "",
            "/v1",
            "/v1/recommendations",
            "/v1/recommendations/a/b",
            "/v1//popular",
            "/V1/popular",
            "/v1/popular/",
            "/recommendations/",
            "/v1/recommendations/../popular",
            "/health",
            "//metrics",
            "/metrics/..",
        ] {
            assert_eq!(route(path).0, Route::None, "{path}");
        }
        assert_eq!(route("/v1/similar/p%2F1"), (Route::Similar, "p%2F1"));
    }
}
