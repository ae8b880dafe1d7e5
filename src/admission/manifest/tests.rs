//! Manifests in, manifests out.

use serde_json::Value;

use super::*;

fn read(text: &str) -> Vec<Value> {
    documents(text)
        .into_iter()
        .filter_map(|(_, document)| Some(Node::read(document).unwrap()?.to_json()))
        .collect()
}

fn done(text: &str) -> Rewritten {
    rewrite(text, &Policy::default()).unwrap()
}

const DEPLOYMENT: &str = r#"# A shop.
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2   # two
  template:
    metadata:
      labels: &labels {dwcp.io/inject: "true", version: '1.10', on: yes}
      annotations: {dwcp.io/port: "8080"}
    spec:
      containers:
      - name: app
        image: app:1
        command: ["sh", -c, 'echo "$HOME: #1"']
        env:
        - {name: MODE, value: "0644"}
        - name: SCRIPT
          value: |
            #!/bin/sh
              echo a

            echo b
        - name: FOLDED
          value: >-
            one
            two
        resources: {limits: {cpu: 1, memory: 1e3}}
      volumes:
      - name: v
        configMap: {name: c, defaultMode: 0644}
"#;

#[test]
fn everything_but_comments_and_the_sidecar_is_as_it_was() {
    let out = done(DEPLOYMENT);
    assert_eq!((out.injected, out.notes.clone()), (1, vec![]));
    let (before, mut after) = (read(DEPLOYMENT).remove(0), read(&out.text).remove(0));
    let pod = &mut after["spec"]["template"];
    let containers = pod["spec"]["containers"].as_array_mut().unwrap();
    assert_eq!(containers.pop().unwrap()["name"], super::super::CONTAINER);
    pod["spec"]["volumes"].as_array_mut().unwrap().truncate(1);
    let annotations = pod["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.retain(|name, _| name == "dwcp.io/port");
    assert_eq!(before, after);
    for kept in [
        "defaultMode: 0644",
        "on: yes",
        "version: \"1.10\"",
        "memory: 1e3",
        "value: |\n            #!/bin/sh\n",
    ] {
        assert!(out.text.contains(kept), "{kept}: {}", out.text);
    }
    assert_eq!(done(&out.text).text, out.text, "injected twice");
}

#[test]
fn documents_without_a_sidecar_stay_letter_by_letter() {
    let service = "# first\napiVersion: v1\nkind: Service\nmetadata: {name:   x}  # odd\n";
    let text = format!("{service}---\n{DEPLOYMENT}---\n# only a comment\n--- \n{service}");
    let out = done(&text);
    assert!(out.text.starts_with(&format!("{service}---\napiVersion: apps/v1\n")), "{}", out.text);
    assert!(out.text.ends_with(&format!("---\n# only a comment\n--- \n{service}")), "{}", out.text);
    let bare = DEPLOYMENT.replace("dwcp.io/inject: \"true\"", "a: b");
    assert_eq!(done(&bare), Rewritten { text: bare, ..Rewritten::default() });
    assert_eq!(done(""), Rewritten::default());
}

#[test]
fn a_marker_with_a_comment_or_a_value_behind_it_still_parts_documents() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {labels: {dwcp.io/inject: 'true'}}, spec: {containers: [{name: a}]}}\n";
    let out = done(&format!("a: b\n--- # two\n{pod}--- {pod}"));
    assert_eq!(out.injected, 2);
    assert_eq!(read(&out.text).len(), 3);
    assert!(out.text.starts_with("a: b\n--- # two\napiVersion: v1\n"), "{}", out.text);
}

#[test]
fn every_kind_of_workload_is_injected_in_its_template() {
    let template = "{metadata: {labels: {dwcp.io/inject: 'true'}, annotations: {dwcp.io/port: '1'}}, spec: {containers: [{name: a, image: a}]}}";
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"] {
        let out = done(&format!("apiVersion: apps/v1\nkind: {kind}\nspec: {{template: {template}}}\n"));
        assert_eq!(out.injected, 1, "{kind}");
    }
    let controller = format!("apiVersion: v1\nkind: ReplicationController\nspec: {{template: {template}}}\n");
    let pod = format!("{{apiVersion: v1, kind: Pod, {}", &template[1..]);
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {pod}\n- {{apiVersion: v1, kind: Service}}\n- {pod}\n"
    );
    let typed = format!("apiVersion: v1\nkind: PodList\nitems: [{template}]\n");
    for (text, injected) in [(controller, 1), (pod, 1), (list, 2), (typed, 1)] {
        assert_eq!(done(&text).injected, injected, "{text}");
    }
    let job =
        format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: j}}\nspec: {{template: {template}}}\n");
    let cron = format!(
        "apiVersion: batch/v1\nkind: CronJob\nspec: {{jobTemplate: {{spec: {{template: {template}}}}}}}\n"
    );
    let native = Policy::read("nodes_at_least: '1.33'").unwrap();
    for text in [job, cron] {
        let out = done(&text);
        assert_eq!((out.injected, out.left, &out.text), (0, 1, &text));
        assert!(out.notes[0].contains("Job/"), "{:?}", out.notes);
        assert_eq!(rewrite(&text, &native).unwrap().injected, 1);
    }
    let other = format!("apiVersion: example.org/v1\nkind: Deployment\nspec: {{template: {template}}}\n");
    let out = done(&other);
    assert_eq!((out.injected, out.left, &out.text), (0, 1, &other));
    assert!(out.notes[0].contains("Deployment/: ") && out.notes[0].contains("not known"), "{:?}", out.notes);
    for kind in ["argoproj.io/v1alpha1\nkind: Rollout", "apps.kruise.io/v1alpha1\nkind: CloneSet"] {
        let out = done(&format!("apiVersion: {kind}\nspec: {{template: {template}}}\n"));
        assert_eq!((out.injected, out.left), (1, 0), "{kind}");
    }
}

#[test]
fn a_wish_in_the_wrong_place_is_told_and_counted() {
    let pods = "spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: a}]}}}";
    for (text, told) in [
        (format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, labels: {{dwcp.io/inject: 'true'}}}}\n{pods}\n"), "Deployment/web: dwcp-anomaly: not injected: dwcp.io/inject is not where its pods have it from; put it into spec.template.metadata.labels"),
        (format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, annotations: {{dwcp.io/inject: true}}}}\n{pods}\n"), "spec.template.metadata.labels"),
        ("apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec: {jobTemplate: {metadata: {labels: {dwcp.io/inject: 'true'}}, spec: {template: {spec: {containers: [{name: a}]}}}}}\n".to_owned(), "spec.jobTemplate.spec.template.metadata.labels"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: s, labels: {dwcp.io/inject: 'true'}}\n".to_owned(), "Service/s: "),
        ("commonLabels: {dwcp.io/inject: 'true'}\n".to_owned(), "not known to inject -f"),
    ] {
        let out = done(&text);
        assert_eq!((out.injected, out.left, &out.text), (0, 1, &text));
        assert!(out.notes.len() == 1 && out.notes[0].contains(told), "{:?}", out.notes);
    }
    for text in [
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{labels: {{dwcp.io/inject: 'false'}}}}\n{pods}\n"
        ),
        "apiVersion: v1\nkind: Service\nspec: {selector: {dwcp.io/inject: 'true'}}\n".to_owned(),
        "apiVersion: x/v1\nkind: PodMonitor\nspec: {selector: {matchLabels: {dwcp.io/inject: 'true'}}}\n"
            .to_owned(),
    ] {
        assert_eq!(done(&text), Rewritten { text: text.clone(), ..Rewritten::default() });
    }
}

#[test]
fn a_mark_of_the_byte_order_is_no_letter_of_the_first_key() {
    let out = done(&format!("\u{feff}{DEPLOYMENT}"));
    assert_eq!(out, done(DEPLOYMENT));
    let out = done(&format!("a: b\n---\n\u{feff}{DEPLOYMENT}"));
    assert_eq!(out.injected, 1);
}

#[test]
fn json_values_one_after_the_other_are_documents_as_kubectl_has_it() {
    let secret = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{}}"#;
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"dwcp.io/inject":"true"}},"spec":{"containers":[{"name":"a"}]}}"#;
    for between in ["\n", "", "\n\n  "] {
        let out = done(&format!("{secret}{between}{pod}{between}{secret}\n"));
        assert_eq!((out.injected, out.left), (1, 0));
        let read = serde_json::Deserializer::from_str(&out.text).into_iter::<Value>();
        let read: Vec<Value> = read.map(Result::unwrap).collect();
        assert_eq!(read.len(), 3, "{}", out.text);
        assert_eq!(read[1]["spec"]["containers"][1]["name"], super::super::CONTAINER);
        assert!(out.text.starts_with(secret) && out.text.ends_with(&format!("{secret}\n")), "{}", out.text);
    }
}

#[test]
fn json_stays_json_in_its_order() {
    let text = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"labels":{"dwcp.io/inject":"true","z":"1","a":"true"}},"spec":{"containers":[{"name":"a","image":"a","ports":[{"name":"metrics","containerPort":8080}]}]}}"#;
    let out = done(text);
    let after: Value = serde_json::from_str(&out.text).unwrap();
    assert_eq!(after["metadata"]["labels"]["a"], "true");
    assert_eq!(after["spec"]["containers"][1]["name"], super::super::CONTAINER);
    assert!(out.text.find("\"kind\"") < out.text.find("\"apiVersion\""));
}

#[test]
fn aliases_and_merges_are_written_out() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {labels: {dwcp.io/inject: 'true'}}\nx: &c {image: a, name: no}\nspec:\n  containers:\n  - <<: *c\n    name: app\n    ports: [{name: metrics, containerPort: 1}]\n";
    let out = done(text);
    let after = read(&out.text).remove(0);
    assert_eq!(
        after["spec"]["containers"][0],
        serde_json::json!({"name": "app", "image": "a", "ports": [{"name": "metrics", "containerPort": 1}]})
    );
}

#[test]
fn what_is_no_yaml_is_an_error_with_its_line() {
    for (text, line) in [("a: b\n---\n\na: [\n", 5), ("a: {b\n", 2)] {
        let error = rewrite(text, &Policy::default()).unwrap_err();
        assert!(error.to_string().starts_with("line "), "{error} {line}");
    }
    let anchor = |n: i32| {
        let before = format!("*a{},", n - i32::from(n > 0)).repeat(if n > 0 { 9 } else { 0 });
        format!("a{n}: &a{n} [{before}]\n")
    };
    let bomb = (0..40).map(anchor).collect::<Vec<_>>().concat();
    assert!(rewrite(&bomb, &Policy::default()).is_err());
    assert!(rewrite(&"[".repeat(10_000), &Policy::default()).is_err());
}
