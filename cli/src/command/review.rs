//! `onefold review`.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::{Args, Subcommand, ValueEnum};
use onefold_cli::output::{Paint, Side, Table};
use onefold_proto::v1 as pb;

use super::{Failure, by_hand, card, consent, explain, online, paint, say, say_json, waterfall};
use crate::client::{Client, Target, request_id, wire};

/// Questions that are fetched at once.
const ASKED_AT_ONCE: i32 = 10;

/// What evidence leaves open, asked one by one; or judgements made, listed and taken back.
#[derive(Args)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    target: Target,
}

#[derive(Subcommand)]
enum Verb {
    /// What is worth asking, the most valuable answer first.
    List(List),
    /// Judges one pair of source records.
    Judge(Judge),
    /// Judgements in force.
    Judgements(Judgements),
    /// Takes judgements back: evidence decides again.
    Withdraw(Withdraw),
    /// Judges that profiles are one party.
    Merge(Merge),
    /// Judges that records of a profile are another party than the rest.
    Split(Split),
}

/// Who judges, and why.
#[derive(Args, Clone)]
struct Words {
    /// Why; kept with the judgement, sealed on disk.
    #[arg(long, value_name = "TEXT", default_value = "judged by hand")]
    reason: String,
    /// Who judges.
    #[arg(long, value_name = "NAME", env = "ONEFOLD_AUTHOR")]
    author: Option<String>,
    /// When it ends, as RFC 3339; without it never.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Words {
    fn author(&self) -> Result<String, Failure> {
        let known = || self.author.clone().or_else(|| std::env::var("USER").ok()).filter(|name| !name.is_empty());
        known().ok_or_else(|| Failure::usage("say who judges: --author NAME"))
    }

    fn until(&self) -> Result<Option<prost_types::Timestamp>, Failure> {
        consent::time(self.until.as_ref())
    }
}

#[derive(Args)]
struct List {
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 10)]
    most: i32,
    #[command(flatten)]
    target: Target,
}

/// What a steward says.
#[derive(Clone, Copy, ValueEnum)]
enum Verdict {
    /// One party.
    Same,
    /// Two.
    Different,
    /// It cannot be told; not asked again.
    Unsure,
}

impl Verdict {
    const fn wire(self) -> pb::Verdict {
        match self {
            Self::Same => pb::Verdict::Same,
            Self::Different => pb::Verdict::Different,
            Self::Unsure => pb::Verdict::Unsure,
        }
    }
}

#[derive(Args)]
struct Judge {
    /// One record, as SOURCE:KEY.
    first: String,
    /// The other.
    second: String,
    /// What is said.
    verdict: Verdict,
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Judgements {
    /// Only those about this record, as SOURCE:KEY.
    #[arg(long, value_name = "RECORD")]
    about: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Withdraw {
    /// Which, as `review judgements` shows them.
    #[arg(required = true, value_name = "JUDGEMENT")]
    names: Vec<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Merge {
    /// The profiles.
    #[arg(required = true, num_args = 2.., value_name = "PROFILE")]
    profiles: Vec<String>,
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Split {
    /// The profile.
    profile: String,
    /// The records that are another party, as SOURCE:KEY.
    #[arg(required = true, value_name = "RECORD")]
    records: Vec<String>,
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.verb {
        None => online(one_by_one(&arguments.words, &arguments.target)),
        Some(Verb::List(list)) => online(list_questions(list)),
        Some(Verb::Judge(judge)) => online(judge_pair(judge)),
        Some(Verb::Judgements(judgements)) => online(list_judgements(judgements)),
        Some(Verb::Withdraw(withdraw)) => online(withdraw_all(withdraw)),
        Some(Verb::Merge(merge)) => online(merge_profiles(merge)),
        Some(Verb::Split(split)) => online(split_profile(split)),
    }
}

async fn list_questions(list: &List) -> Result<(), Failure> {
    let client = Client::connect(&list.target).await?;
    let request =
        pb::ListQuestionsRequest { parent: list.target.parent(), page_size: list.most.max(1), ..Default::default() };
    let found = client.ask(|| async { client.reviews().list_questions(request.clone()).await }).await?;
    if list.target.json {
        return say_json(&wire::json("ListQuestionsResponse", &found));
    }
    let paint = paint(&io::stdout());
    let mut text = match found.questions.len() {
        0 => "nothing is left open\n".to_owned(),
        _ => paint.heading("left open, the most valuable answer first") + "\n",
    };
    for question in &found.questions {
        text.push_str(&asked(question, paint));
    }
    let call = wire::grpcurl(&client.address, "ReviewService/ListQuestions", "ListQuestionsRequest", &request);
    say(&(text + &by_hand(&call, paint)))
}

/// One question with its evidence.
fn asked(question: &pb::ReviewQuestion, paint: Paint) -> String {
    let [first, second] = ends(question);
    let doubt = match question.doubt() {
        pb::Doubt::Between => "between asking and linking".to_owned(),
        pb::Doubt::Parked => "would link, but the profiles contradict each other".to_owned(),
        pb::Doubt::AgainstJudgement => {
            format!("evidence has turned against the judgement `{}`", said(question.judged()))
        }
        pb::Doubt::Unspecified => String::new(),
    };
    let profiles = format!("{} and {}", card::short(&question.first_profile), card::short(&question.second_profile));
    let heading = paint.heading(&format!("{first} and {second}"));
    let mut text = format!("\n{heading}  {}\n", paint.faint(&format!("{profiles}; {doubt}")));
    if let Some(evidence) = &question.evidence {
        text.push_str(&waterfall::drawn(evidence, paint));
    }
    text
}

fn ends(question: &pb::ReviewQuestion) -> [String; 2] {
    [&question.first, &question.second].map(|one| one.as_ref().map(card::record).unwrap_or_default())
}

const fn said(verdict: pb::Verdict) -> &'static str {
    match verdict {
        pb::Verdict::Same => "same",
        pb::Verdict::Different => "different",
        pb::Verdict::Unsure => "unsure",
        pb::Verdict::Unspecified => "",
    }
}

/// Asks a person at a terminal, question by question.
async fn one_by_one(words: &Words, target: &Target) -> Result<(), Failure> {
    if target.json {
        return Err(Failure::usage(
            "`review` alone asks a person; `review list --json` gives the questions to a program",
        ));
    }
    let (author, until) = (words.author()?, words.until()?);
    let client = Client::connect(target).await?;
    let paint = paint(&io::stdout());
    let mut passed_over: Vec<[String; 2]> = Vec::new();
    let mut judged = 0;
    let mut token = String::new();
    loop {
        let request =
            pb::ListQuestionsRequest { parent: target.parent(), page_size: ASKED_AT_ONCE, page_token: token.clone() };
        let found = client.ask(|| async { client.reviews().list_questions(request.clone()).await }).await?;
        let next = found.questions.iter().find(|question| !passed_over.contains(&ends(question)));
        let Some(question) = next else {
            if found.next_page_token.is_empty() {
                return say(&format!(
                    "\nnothing more is left open; {judged} judged, {} passed over\n",
                    passed_over.len()
                ));
            }
            token = found.next_page_token;
            continue;
        };
        let both = [&question.first_profile, &question.second_profile];
        let mut text = asked(question, paint);
        for name in both {
            text.push_str(&card_of(&client, name, paint).await?);
        }
        text.push_str("\none party?  s same · d different · u unsure · Enter passes over · q ends  > ");
        say(&text)?;
        let verdict = match answer()?.as_str() {
            "s" | "same" => pb::Verdict::Same,
            "d" | "different" => pb::Verdict::Different,
            "u" | "unsure" => pb::Verdict::Unsure,
            "q" | "quit" => {
                return say(&format!("{judged} judged, {} passed over\n", passed_over.len()));
            }
            _ => {
                passed_over.push(ends(question));
                continue;
            }
        };
        let pair = pb::PairJudgement {
            first: question.first.clone(),
            second: question.second.clone(),
            verdict: verdict as i32,
        };
        let request = pb::JudgeRequest {
            parent: target.parent(),
            judgements: vec![pair],
            author: author.clone(),
            reason: words.reason.clone(),
            expire_time: until,
            request_id: request_id(),
        };
        match client.ask(|| async { client.reviews().judge(request.clone()).await }).await {
            Ok(_) => judged += 1,
            Err(failure) => {
                say(&format!("{}\n", paint.warning(&failure.message)))?;
                passed_over.push(ends(question));
            }
        }
        token.clear();
    }
}

async fn card_of(client: &Client, name: &str, paint: Paint) -> Result<String, Failure> {
    let request = pb::GetProfileRequest { name: name.to_owned(), ..Default::default() };
    let found = client.ask(|| async { client.profiles().get_profile(request.clone()).await }).await?;
    Ok(found.profile.map(|profile| format!("\n{}", card::render(&profile, false, paint))).unwrap_or_default())
}

/// A line of what the person types; the end of input ends.
fn answer() -> Result<String, Failure> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    let read = read.map_err(|error| Failure::new(format!("the answer cannot be read: {error}")))?;
    if !io::stdin().is_terminal() {
        // Without an echo the answer would not be in the transcript.
        let _ = writeln!(io::stdout(), "{}", line.trim());
    }
    Ok(if read == 0 { "q".to_owned() } else { line.trim().to_lowercase() })
}

async fn judge_pair(judge: &Judge) -> Result<(), Failure> {
    let target = &judge.target;
    let pair = pb::PairJudgement {
        first: Some(explain::record(&judge.first)?),
        second: Some(explain::record(&judge.second)?),
        verdict: judge.verdict.wire() as i32,
    };
    let mut request = pb::JudgeRequest {
        parent: target.parent(),
        judgements: vec![pair],
        author: judge.words.author()?,
        reason: judge.words.reason.clone(),
        expire_time: judge.words.until()?,
        request_id: request_id(),
    };
    let client = Client::connect(target).await?;
    let done = client.ask(|| async { client.reviews().judge(request.clone()).await }).await?;
    if target.json {
        return say_json(&wire::json("JudgeResponse", &done));
    }
    let paint = paint(&io::stdout());
    request.request_id.clear();
    let call = wire::grpcurl(&client.address, "ReviewService/Judge", "JudgeRequest", &request);
    let names: Vec<&str> = done.names.iter().map(|name| short(name)).collect();
    let what = said(judge.verdict.wire());
    say(&format!("  judged {what}: judgement {}\n{}", names.join(", "), by_hand(&call, paint)))
}

fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

async fn list_judgements(judgements: &Judgements) -> Result<(), Failure> {
    let target = &judgements.target;
    let client = Client::connect(target).await?;
    let record = judgements.about.as_deref().map(explain::record).transpose()?;
    let mut all = pb::ListJudgementsResponse::default();
    let mut request =
        pb::ListJudgementsRequest { parent: target.parent(), record, page_size: 1_000, ..Default::default() };
    loop {
        let page = client.ask(|| async { client.reviews().list_judgements(request.clone()).await }).await?;
        all.judgements.extend(page.judgements);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if target.json {
        return say_json(&wire::json("ListJudgementsResponse", &all));
    }
    let paint = paint(&io::stdout());
    let mut table = Table::new(&[
        ("judgement", Side::Left),
        ("first", Side::Left),
        ("second", Side::Left),
        ("verdict", Side::Left),
        ("seen", Side::Right),
        ("by", Side::Left),
        ("when", Side::Left),
        ("until", Side::Left),
        ("reason", Side::Left),
    ]);
    for one in &all.judgements {
        let record =
            |record: &Option<pb::SourceRecord>| record.as_ref().map_or_else(|| "(not live)".to_owned(), card::record);
        table.row([
            short(&one.name).to_owned(),
            record(&one.first),
            record(&one.second),
            said(one.verdict()).to_owned(),
            one.seen_bits.map(|bits| format!("{bits:+.1}")).unwrap_or_default(),
            one.author.clone(),
            card::time(one.judge_time.as_ref()),
            one.expire_time.as_ref().map(|time| card::time(Some(time))).unwrap_or_default(),
            one.reason.clone(),
        ]);
    }
    let text = if all.judgements.is_empty() { "no judgement is in force\n".to_owned() } else { table.render(paint) };
    request.page_token.clear();
    let call = wire::grpcurl(&client.address, "ReviewService/ListJudgements", "ListJudgementsRequest", &request);
    say(&(text + &by_hand(&call, paint)))
}

async fn withdraw_all(withdraw: &Withdraw) -> Result<(), Failure> {
    let target = &withdraw.target;
    let client = Client::connect(target).await?;
    let whole = |name: &String| match name.contains('/') {
        true => name.clone(),
        false => format!("{}/judgements/{name}", target.parent()),
    };
    let names = withdraw.names.iter().map(whole).collect();
    let mut request = pb::WithdrawJudgementsRequest { parent: target.parent(), names, request_id: request_id() };
    let done = client.ask(|| async { client.reviews().withdraw_judgements(request.clone()).await }).await?;
    if target.json {
        return say_json(&wire::json("WithdrawJudgementsResponse", &done));
    }
    let paint = paint(&io::stdout());
    request.request_id.clear();
    let call =
        wire::grpcurl(&client.address, "ReviewService/WithdrawJudgements", "WithdrawJudgementsRequest", &request);
    say(&format!("  {} taken back\n{}", done.withdrawn_count, by_hand(&call, paint)))
}

async fn merge_profiles(merge: &Merge) -> Result<(), Failure> {
    let target = &merge.target;
    let names = merge.profiles.iter().map(|name| target.profile(name)).collect::<Result<Vec<_>, _>>()?;
    let mut request = pb::MergeProfilesRequest {
        parent: target.parent(),
        names,
        author: merge.words.author()?,
        reason: merge.words.reason.clone(),
        expire_time: merge.words.until()?,
        request_id: request_id(),
    };
    let client = Client::connect(target).await?;
    let done = client.ask(|| async { client.reviews().merge_profiles(request.clone()).await }).await?;
    if target.json {
        return say_json(&wire::json("MergeProfilesResponse", &done));
    }
    let paint = paint(&io::stdout());
    request.request_id.clear();
    let call = wire::grpcurl(&client.address, "ReviewService/MergeProfiles", "MergeProfilesRequest", &request);
    let end = match done.profile.as_str() {
        "" => "judged the same, and not one profile: something outranks it, as two values of a unique namespace do; \
               `onefold explain RECORD RECORD` says what"
            .to_owned(),
        name => format!("one party now: {}", card::short(name)),
    };
    say(&format!("  {end}\n{}", by_hand(&call, paint)))
}

async fn split_profile(split: &Split) -> Result<(), Failure> {
    let target = &split.target;
    let records = split.records.iter().map(|record| explain::record(record)).collect::<Result<Vec<_>, _>>()?;
    let mut request = pb::SplitProfileRequest {
        name: target.profile(&split.profile)?,
        records,
        author: split.words.author()?,
        reason: split.words.reason.clone(),
        expire_time: split.words.until()?,
        request_id: request_id(),
    };
    let client = Client::connect(target).await?;
    let done = client.ask(|| async { client.reviews().split_profile(request.clone()).await }).await?;
    if target.json {
        return say_json(&wire::json("SplitProfileResponse", &done));
    }
    let paint = paint(&io::stdout());
    request.request_id.clear();
    let call = wire::grpcurl(&client.address, "ReviewService/SplitProfile", "SplitProfileRequest", &request);
    let names: Vec<&str> = done.profiles.iter().map(|name| card::short(name)).collect();
    say(&format!("  the records are in {} now\n{}", names.join(" and "), by_hand(&call, paint)))
}
