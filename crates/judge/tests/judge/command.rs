//! The binary: what it prints, and its exit status.

use std::path::PathBuf;
use std::process::{Command, Output};

fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text.replace('\'', "\"")).unwrap();
    path
}

fn run(files: &[PathBuf], options: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_runnel-judge")).args(files).args(options).output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

const SENT: &str = "{'send':{'at':1000001,'client':'a','topic':'t','partition':0,'value':7}}
{'acked':{'at':1000900,'client':'a','topic':'t','partition':0,'value':7,'offset':4}}
";

#[test]
fn it_shows_what_is_wrong() {
    let sent = file("sent.jsonl", SENT);
    let good =
        file("good.jsonl", "{'poll':{'at':2000000,'client':'b','topic':'t','partition':0,'records':[[4,'a',7,0]]}}");
    let summary = "no anomalies in 3 events: 1 sent, 1 acknowledged, 0 refused, 1 read, 0 committed\n";
    assert_eq!(run(&[sent.clone(), good], &[]), (Some(0), summary.to_owned()));

    let bad =
        file("bad.jsonl", "{'poll':{'at':2000000,'client':'b','topic':'t','partition':0,'records':[[5,'a',7,0]]}}");
    let shown = "\
moved: t-0: a:7 was acknowledged at offset 4 and read at 5
       1         1.000900  a             7 is at t-0 offset 4
       2         2.000000  b             reads t-0: 1 records, 5 to 5, 5 = a:7

1 anomaly in 3 events: 1 sent, 1 acknowledged, 0 refused, 1 read, 0 committed
";
    assert_eq!(run(&[sent.clone(), bad.clone()], &[]), (Some(1), shown.to_owned()));
    let (status, json) = run(&[sent, bad], &["-o", "json"]);
    assert_eq!(status, Some(1));
    assert!(json.contains(r#""kind":"moved","value":"a:7","acknowledged":4,"offset":5,"events":[1,2]"#), "{json}");
}

#[test]
fn what_is_no_history_is_no_verdict() {
    let none = file("none.jsonl", "what?");
    let (status, said) = run(std::slice::from_ref(&none), &[]);
    assert_eq!(status, Some(2));
    assert!(said.contains("none.jsonl: line 1 is no event"), "{said}");
    assert_eq!(run(&[none.with_file_name("not-there.jsonl")], &[]).0, Some(2));
}
