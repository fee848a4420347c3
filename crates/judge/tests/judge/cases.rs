//! Where the line is between what is legal and what is not, told by hand: `s` sends, `a` acknowledges, and so on.

use std::fmt::Write as _;

use runnel_judge::History;

use crate::kinds;

/// Lines of a history, of one partition, in the order of their times.
#[derive(Default)]
struct Told(String, u64);

impl Told {
    fn line(mut self, kind: &str, fields: &str) -> Self {
        self.1 += 10;
        let fields = fields.replace('\'', "\"");
        writeln!(self.0, "{{\"{kind}\":{{\"at\":{},\"topic\":\"t\",\"partition\":0,{fields}}}}}", self.1).unwrap();
        self
    }

    fn bare(mut self, line: &str) -> Self {
        writeln!(self.0, "{}", line.replace('\'', "\"")).unwrap();
        self
    }

    fn send(self, client: &str, value: u64) -> Self {
        self.line("send", &format!("'client':'{client}','value':{value}"))
    }

    fn acked(self, client: &str, value: u64, offset: i64) -> Self {
        self.line("acked", &format!("'client':'{client}','value':{value},'offset':{offset}"))
    }

    fn refused(self, client: &str, value: u64) -> Self {
        self.line("refused", &format!("'client':'{client}','value':{value}"))
    }

    fn seek(self, client: &str, offset: i64) -> Self {
        self.line("seek", &format!("'client':'{client}','offset':{offset}"))
    }

    /// `records` are offsets and values of the producer `p`.
    fn poll(self, client: &str, records: &[(i64, u64)]) -> Self {
        let records: Vec<String> = records.iter().map(|(offset, value)| format!("[{offset},'p',{value},0]")).collect();
        self.line("poll", &format!("'client':'{client}','records':[{}]", records.join(",")))
    }

    fn trim(self, before: i64) -> Self {
        self.line("trim", &format!("'client':'admin','before':{before}"))
    }

    fn loss(self, from: i64) -> Self {
        self.line("loss", &format!("'client':'admin','from':{from}"))
    }

    fn commit(self, offset: i64, outcome: &str) -> Self {
        let begin = self.1 + 5;
        self.line(
            "commit",
            &format!("'begin':{begin},'client':'m','group':'g','offset':{offset},'outcome':'{outcome}'"),
        )
    }

    fn committed(self, offset: &str) -> Self {
        let begin = self.1 + 5;
        self.line("committed", &format!("'begin':{begin},'client':'m','group':'g','offset':{offset}"))
    }

    #[track_caller]
    fn is(self, expected: &[&str]) {
        let mut history = History::default();
        history.read(&self.0).unwrap();
        assert_eq!(kinds(&history).into_iter().collect::<Vec<_>>(), expected, "\n{}", crate::report(&history));
    }
}

fn told() -> Told {
    Told::default()
}

#[test]
fn an_open_outcome_may_be_either() {
    told().send("p", 0).seek("c", 0).poll("c", &[]).is(&[]);
    told().send("p", 0).seek("c", 0).poll("c", &[(0, 0)]).is(&[]);
    // One attempt was refused, and the other may have been written.
    told().send("p", 0).refused("p", 0).send("p", 0).seek("c", 0).poll("c", &[(0, 0)]).is(&[]);
    told().send("p", 0).refused("p", 0).send("p", 0).refused("p", 0).poll("c", &[(0, 0)]).is(&["refused-read"]);
}

#[test]
fn only_some_producers_repeat_themselves() {
    let twice = || told().send("p", 0).send("p", 0).poll("c", &[(0, 0), (1, 0)]);
    twice().is(&["duplicate"]);
    twice().bare("{'repeats':{'client':'p','retries':false}}").is(&[]);
    let thrice = || twice().poll("c", &[(2, 0)]);
    thrice().bare("{'repeats':{'client':'p','retries':false}}").is(&["duplicate"]);
    thrice().bare("{'repeats':{'client':'p','retries':true}}").is(&[]);
}

#[test]
fn lost_is_what_somebody_passed_over_and_unseen_what_nobody_came_to() {
    let sent = || (0..3).fold(told(), |told, n| told.send("p", n).acked("p", n, n.cast_signed()));
    sent().seek("c", 0).poll("c", &[(0, 0), (2, 2)]).is(&["lost"]);
    sent().seek("c", 0).poll("c", &[(0, 0), (1, 1)]).is(&["unseen"]);
    sent().seek("c", 2).poll("c", &[(2, 2)]).is(&["unseen"]);
    sent().seek("c", 0).poll("c", &[(2, 2)]).is(&["lost"]);
    // Two readers together have seen all of it.
    sent().seek("c", 2).poll("c", &[(2, 2)]).seek("d", 0).poll("d", &[(0, 0), (1, 1)]).is(&[]);
}

#[test]
fn deleted_records_need_not_be_read() {
    let sent = || (0..3).fold(told(), |told, n| told.send("p", n).acked("p", n, n.cast_signed()));
    sent().trim(2).seek("c", 0).poll("c", &[(2, 2)]).is(&[]);
    sent().trim(1).seek("c", 0).poll("c", &[(2, 2)]).is(&["lost"]);
    // Nobody had asked for that yet.
    sent().seek("c", 0).poll("c", &[(0, 0), (2, 2)]).trim(2).is(&[]);
    let start = "{'offsets':{'begin':900,'at':901,'client':'c','topic':'t','partition':0,'log_start':2,'end':3}}";
    sent().seek("c", 2).poll("c", &[(2, 2)]).bare(start).bare("{'expires':{'topic':'t'}}").is(&[]);
}

#[test]
fn what_was_given_up_with_leave_may_be_gone_and_its_offsets_given_anew() {
    let lost = |told: Told| {
        let told = told.send("p", 0).acked("p", 0, 0).send("p", 1).acked("p", 1, 1);
        told.seek("c", 0).poll("c", &[(0, 0), (1, 1)])
    };
    let again = |told: Told| told.send("p", 2).acked("p", 2, 1).poll("c", &[(1, 2)]);
    again(lost(told()).loss(1)).is(&[]);
    again(lost(told())).is(&["nonmonotonic-poll", "offset-given-twice", "two-contents"]);
    // What is below it stays.
    lost(told()).loss(1).seek("d", 0).poll("d", &[(0, 7)]).is(&["phantom", "two-contents"]);
    // What was written before and nobody heard of may be written again.
    told().send("p", 0).poll("c", &[(0, 0)]).loss(0).send("p", 0).acked("p", 0, 0).poll("c", &[(0, 0)]).is(&[]);
}

#[test]
fn what_overlaps_has_no_order() {
    let other = |told: Told| told.line("poll", "'client':'c','records':[[0,'q',0,0],[1,'p',0,0]]");
    other(told().send("p", 0).send("q", 0).acked("p", 0, 1).acked("q", 0, 0)).is(&[]);
    other(told().send("p", 0).acked("p", 0, 1).send("q", 0).acked("q", 0, 0)).is(&["overtaken"]);
    // Also of one whose producer heard nothing.
    other(told().send("p", 0).acked("p", 0, 1).send("q", 0)).is(&["overtaken"]);
}

#[test]
fn the_committed_offset_is_a_register() {
    told().commit(5, "ok").committed("5").is(&[]);
    told().commit(5, "ok").commit(3, "ok").committed("3").is(&[]);
    told().commit(5, "ok").commit(3, "ok").committed("5").is(&["lost-commit"]);
    told().commit(5, "ok").commit(7, "unknown").committed("5").committed("7").is(&[]);
    // Once it has been seen it stays.
    told().commit(5, "ok").commit(7, "unknown").committed("7").committed("5").is(&["lost-commit"]);
    // It may come late.
    told().commit(7, "unknown").commit(8, "ok").committed("8").committed("7").is(&[]);
    told().commit(5, "refused").committed("5").is(&["refused-commit"]);
    told().commit(5, "unknown").committed("null").is(&[]);
    told().commit(5, "ok").committed("null").is(&["lost-commit"]);
    told().committed("5").is(&["phantom-commit"]);
}

#[test]
fn a_line_that_tells_nothing_is_an_error() {
    let read = |text: &str| History::default().read(&text.replace('\'', "\"")).unwrap_err().to_string();
    assert!(read("{'expires':{'topic':'t'}}\n{}").starts_with("line 2 is no event"));
    assert!(read("{'close':{'at':1,'client':'c','more':1}}").contains("unknown field `more`"));
    let mut history = History::default();
    history.read(&told().acked("p", 3, 0).0).unwrap();
    let error = runnel_judge::judge(&history).unwrap_err().to_string();
    assert_eq!(error, "event 0: value 3 of p was never sent there");
}
