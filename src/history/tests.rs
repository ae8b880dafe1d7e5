use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::http::{StatusCode as Code, header};
use axum::response::IntoResponse;
use axum::routing::post;

use super::*;
use crate::setting::Redirects;

type Form = HashMap<String, String>;

/// A server that answers by `answer`, which is given the number of the request, and remembers what it was asked.
async fn serve<A>(
    answer: impl Fn(usize, &Form) -> A + Clone + Send + Sync + 'static,
) -> (Prometheus, Arc<Mutex<Vec<Form>>>)
where
    A: IntoResponse + 'static,
{
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let handler = async move |body: String| {
        let pairs = Url::parse(&format!("http://form/?{body}")).unwrap();
        let form: Form = pairs.query_pairs().into_owned().collect();
        let mut seen = seen.lock().unwrap();
        seen.push(form);
        answer(seen.len(), seen.last().unwrap()).into_response()
    };
    let routes = axum::Router::new().route("/prefix/api/v1/query_range", post(handler)).route(
        "/moved/api/v1/query_range",
        post(async || (Code::FOUND, [(header::LOCATION, "/login?token=hunter2")])),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://me:hunter2@{}/prefix/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (prometheus(&url), asked)
}

fn prometheus(url: &str) -> Prometheus {
    let (client, _) = crate::setting::http_client(Duration::from_secs(10), Redirects::SameHost).unwrap();
    Prometheus { wait: Duration::from_millis(1), ..Prometheus::new(client, &Address::new(url)).unwrap() }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

/// A series whose values are the times, where `keep` says so.
fn row(name: &str, form: &Form, keep: impl Fn(i64) -> bool) -> String {
    let number = |key: &str| form[key].parse::<i64>().unwrap();
    let times = (number("start")..=number("end")).step_by(number("step") as usize).filter(|time| keep(*time));
    let points: Vec<String> = times.map(|time| format!("[{time},\"{time}\"]")).collect();
    format!(r#"{{"metric":{{"__name__":"{name}"}},"values":[{}]}}"#, points.join(","))
}

fn matrix(rows: &[String]) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#, rows.join(","))
}

async fn range(prometheus: &Prometheus, to: i64) -> Result<Vec<Series>, Error> {
    prometheus.range("a + b", at(0), at(to), Duration::from_secs(10), &mut |_, _| {}).await
}

#[tokio::test]
async fn chunks_are_joined_in_order_and_without_repetition() {
    // One that is always there, one that comes in the second answer, one that leaves after the first.
    let answer = |_, form: &Form| {
        // As a server that does not mind where a chunk begins: the last point before it comes again.
        let mut form = form.clone();
        let start = form["start"].parse::<i64>().unwrap();
        form.insert("start".to_owned(), (start - 10).max(0).to_string());
        let rows = [
            row("late", &form, |time| time >= 40),
            row("whole", &form, |_| true),
            row("early", &form, |time| time < 20),
        ];
        matrix(&rows)
    };
    let (prometheus, asked) = serve(answer).await;
    let mut heard = Vec::new();
    let prometheus = prometheus.in_chunks_of(3);
    let progress = &mut |done, total| heard.push((done, total));
    let series = prometheus.range("a + b", at(0), at(75), Duration::from_secs(10), progress).await.unwrap();
    let expect = [
        ("early", vec![0, 10]),
        ("late", vec![40, 50, 60, 70]),
        ("whole", (0..=7).map(|n| n * 10).collect()),
    ];
    let expect = expect.map(|(name, times)| Series {
        labels: Labels::new([("__name__", name)]),
        points: times.into_iter().map(|time| (at(time), time as f64)).collect(),
    });
    assert_eq!(series, expect);
    assert_eq!(heard, [(1, 3), (2, 3), (3, 3)]);
    let asked = asked.lock().unwrap();
    let ends: Vec<_> = asked.iter().map(|form| (form["start"].as_str(), form["end"].as_str())).collect();
    assert_eq!(ends, [("0", "20"), ("30", "50"), ("60", "70")]);
    assert!(asked.iter().all(|form| form["query"] == "a + b" && form["step"] == "10"));
}

#[tokio::test]
async fn eleven_thousand_points_are_one_request_and_one_more_are_two() {
    for (points, requests) in [(11_000, 1), (11_001, 2)] {
        let (prometheus, asked) = serve(|_, form| matrix(&[row("up", form, |_| true)])).await;
        let series = range(&prometheus, (points - 1) * 10).await.unwrap();
        assert_eq!(series[0].points.len() as i64, points);
        assert_eq!(asked.lock().unwrap().len(), requests, "{points}");
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_the_rest_is_not() {
    for (bad, status, requests) in [
        (2, 503, 3),
        (3, 429, 4),
        (9, 500, 4),
        (9, 429, 4),
        (9, 400, 1),
        (9, 422, 1),
        (9, 404, 1),
        (9, 302, 1),
    ] {
        let answer = move |number, form: &Form| {
            if number > bad {
                return (Code::OK, matrix(&[row("up", form, |_| true)]));
            }
            (Code::from_u16(status).unwrap(), "busy".to_owned())
        };
        let (prometheus, asked) = serve(answer).await;
        let result = range(&prometheus, 0).await;
        assert_eq!(asked.lock().unwrap().len(), requests, "{bad} times {status}");
        if requests > bad {
            assert_eq!(result.unwrap()[0].points, [(at(0), 0.0)]);
        } else {
            assert_eq!(result.unwrap_err().problem, Problem::Status { status, text: "busy".to_owned() });
        }
    }
}

#[tokio::test]
async fn each_refusal_says_what_is_wrong_and_no_error_shows_the_password() {
    let refused = r#"{"status":"error","errorType":"execution","error":"many-to-many matching"}"#;
    let endless = " ".repeat(3000);
    for (code, body, says) in [
        (422, refused, "execution: many-to-many matching"),
        (200, refused, "execution: many-to-many matching"),
        (
            200,
            "<html>hello</html>",
            "does not answer as Prometheus does: expected value at line 1 column 1; is the address right?",
        ),
        (
            404,
            "404 page not found\n",
            "answered HTTP 404: \"404 page not found\"; is it a Prometheus, and the path right?",
        ),
        (200, &endless, "answered with more than 2000 bytes; ask for a longer step or fewer series"),
    ] {
        let body = body.to_owned();
        let (prometheus, _) = serve(move |_, _| (Code::from_u16(code).unwrap(), body.clone())).await;
        let prometheus = Prometheus { most_bytes: 2000, ..prometheus };
        let port = prometheus.endpoint.port().unwrap();
        let error = range(&prometheus, 0).await.unwrap_err().to_string();
        assert_eq!(error, format!("http://127.0.0.1:{port}/prefix/api/v1/query_range: {says}"));
    }
}

#[tokio::test]
async fn a_redirect_is_told_because_a_question_is_lost_on_the_way() {
    let (moved, _) = serve(|_, _| ()).await;
    let port = moved.endpoint.port().unwrap();
    let prometheus = prometheus(&format!("http://127.0.0.1:{port}/moved"));
    let problem = range(&prometheus, 0).await.unwrap_err().problem;
    assert_eq!(problem, Problem::Redirected(format!("http://127.0.0.1:{port}/login")));
}

#[tokio::test]
async fn more_values_than_can_be_held_are_refused() {
    let (prometheus, asked) =
        serve(|_, form| matrix(&[row("a", form, |_| true), row("b", form, |_| true)])).await;
    let prometheus = Prometheus { most_values: 10, ..prometheus }.in_chunks_of(4);
    assert_eq!(range(&prometheus, 40).await.unwrap().len(), 2);
    for (to, requests) in [(50, 2), (100, 0)] {
        asked.lock().unwrap().clear();
        assert_eq!(range(&prometheus, to).await.unwrap_err().problem, Problem::TooMany(10));
        assert_eq!(asked.lock().unwrap().len(), requests);
    }
}

#[tokio::test]
async fn a_range_without_a_grid_is_not_asked_for() {
    let prometheus = prometheus("http://127.0.0.1:9");
    let (backwards, still) = (at(-1), Duration::ZERO);
    for (to, step, expect) in
        [(backwards, Duration::from_secs(1), Problem::Backwards), (at(1), still, Problem::Step)]
    {
        let error = prometheus.range("up", at(0), to, step, &mut |_, _| {}).await.unwrap_err();
        assert_eq!(error.problem, expect);
    }
}

#[test]
fn an_address_is_where_the_page_is() {
    for (url, expect) in [
        ("http://h:9090", Some("http://h:9090/api/v1/query_range")),
        ("https://h/prometheus/", Some("https://h/prometheus/api/v1/query_range")),
        ("http://h/?tenant=a#graph", Some("http://h/api/v1/query_range?tenant=a")),
        ("h:9090", None),
        ("127.0.0.1:9090", None),
        ("ftp://h", None),
        ("", None),
    ] {
        assert_eq!(endpoint(url).as_ref().map(Url::as_str), expect, "{url}");
    }
}

#[test]
fn no_password_is_shown() {
    let (client, _) = crate::setting::http_client(Duration::from_secs(1), Redirects::SameHost).unwrap();
    let shown = format!(
        "{:?}",
        Prometheus::new(client.clone(), &Address::new("http://me:hunter2@h:9090?key=hunter2")).unwrap()
    );
    assert_eq!(shown, "Prometheus(\"http://h:9090/api/v1/query_range\")");
    let error = Prometheus::new(client, &Address::new("me:hunter2@h:9090")).unwrap_err().to_string();
    let says = "<secret>@h:9090: is no http:// or https:// address of a Prometheus; give one such as http://127.0.0.1:9090";
    assert_eq!(error, says);
}
