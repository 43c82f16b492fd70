//! Endpoints in processes of their own: each has a server process that knows nothing else, and is started again when it dies.
//!
//! The supervisor holds their listening sockets as it holds all others, so what waits in a queue while nobody serves is served
//! by the next process. A process of the kind is a server process like the one that serves the rest: confined to what its part
//! of the configuration needs, given a new configuration while it runs if that needs nothing more, replaced otherwise, and
//! drained by the same orders. What it counts is fetched now and then, and told to the process that has the faces.

use super::generation::{Generation, Phase};
use super::plan::{Apart, Plan};
use super::supervise::{GENERATIONS_MAX, Supervisor, next_back_off};
use super::tasks::Awaited;
use crate::control::{Order, Reload};
use crate::voice::say;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Most processes of one endpoint at once: one that serves, one that starts, and some that finish what is under way.
const PROCESSES_MAX: usize = 4;

/// A process that served so long has not failed at its start: the next one is started soon.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

/// How often they are asked for what they have counted.
const FIGURES_EVERY: Duration = Duration::from_secs(2);

/// What the console of a process of one endpoint is asked for, with the endpoint's name.
const FIGURES_COMMAND: &str = "endpoint";

/// Commands of the console that are about one endpoint, whose name follows.
const COMMANDS: [&str; 3] = [FIGURES_COMMAND, "trace", "replace"];

/// An endpoint that has processes of its own.
#[derive(Debug)]
pub(super) struct Ward {
    pub(super) part: Apart,
    /// When the next process is started, if one is to be.
    pub(super) restart_at: Option<Instant>,
    back_off: Duration,
    /// How many of its processes have died.
    deaths: u64,
    /// What its last process died of, or why none starts.
    failure: Option<String>,
    /// The process that serves has another configuration than it should: the new one did not start.
    is_behind: bool,
    ticket_keys: Vec<u8>,
    /// The order to take another configuration that has no answer yet.
    told: Option<u64>,
    /// The question for its figures, and the last answer.
    asked: Option<u64>,
    figures: Value,
}

impl Ward {
    pub(super) fn new(part: Apart) -> Self {
        Self {
            part,
            restart_at: None,
            back_off: next_back_off(None),
            deaths: 0,
            failure: None,
            is_behind: false,
            ticket_keys: Vec::new(),
            told: None,
            asked: None,
            figures: Value::Null,
        }
    }
}

/// What processes are to do after a change of the plan.
enum Course {
    /// Take the new configuration.
    Tell(u64),
    /// Give way to another process.
    Start,
}

impl Supervisor {
    /// Gives the endpoints of the plan their processes, and lets those end that are not wanted any more. Whom to wait for.
    ///
    /// `before` is what was in force. `is_new_program`: everybody gets a process of this program.
    pub(super) fn keep_apart(&mut self, before: &Plan, is_new_program: bool) -> Vec<Awaited> {
        let parts = self.plan.apart.clone();
        let drain = self.plan.drain;
        self.wards.retain(|ward| parts.iter().any(|part| part.name == ward.part.name));
        for generation in &mut self.generations {
            let is_wanted = |name: &String| parts.iter().any(|part| part.name == *name);
            if generation.endpoint.as_ref().is_some_and(|name| !is_wanted(name)) {
                end(generation, drain);
            }
        }
        let is_same_process = before.fixed == self.plan.fixed && !is_new_program;
        let mut awaited = Vec::new();
        for part in parts {
            let name = part.name.clone();
            let place = self.wards.iter().position(|ward| ward.part.name == name);
            let old = place.map(|place| std::mem::replace(&mut self.wards[place].part, part.clone()));
            if place.is_none() {
                self.wards.push(Ward::new(part.clone()));
            }
            let course = match old.filter(|_| is_same_process) {
                Some(old) => self.course(&old),
                None => Course::Start,
            };
            match course {
                Course::Tell(id) => awaited.push(Awaited::Answer(id)),
                Course::Start => awaited.extend(self.start_apart(&name).map(Awaited::Process)),
            }
        }
        awaited
    }

    /// Whether the process that serves can take the new part; told so then.
    fn course(&mut self, old: &Apart) -> Course {
        let id = self.next_id();
        let Some(ward) = self.wards.iter_mut().find(|ward| ward.part.name == old.name) else {
            return Course::Start;
        };
        let part = ward.part.clone();
        let is_other =
            old.workers != part.workers || old.keys != part.keys || old.rules.identity != part.rules.identity;
        let serving = self.generations.iter_mut().find(|generation| {
            generation.endpoint.as_ref() == Some(&part.name) && generation.phase == Phase::Serving
        });
        match serving {
            Some(serving) if !is_other && !ward.is_behind && serving.grants.cover(&part.rules) => {
                let order = Order::Reload(Box::new(Reload {
                    id,
                    settings: part.settings,
                    secrets: part.secrets,
                    listeners: Vec::new(),
                    drain_ms: self.plan.drain_ms(),
                }));
                serving.tell(&order);
                ward.told = Some(id);
                Course::Tell(id)
            }
            _ => Course::Start,
        }
    }

    /// Starts a process for an endpoint. Its number, when it starts.
    fn start_apart(&mut self, name: &str) -> Option<u64> {
        let place = self.wards.iter().position(|ward| ward.part.name == name)?;
        let ward = &mut self.wards[place];
        ward.restart_at = None;
        let mut processes = 0;
        for generation in self.generations.iter_mut().filter(|other| other.endpoint.as_deref() == Some(name))
        {
            processes += 1;
            if generation.phase == Phase::Starting {
                // For a part that is outdated before it was served.
                generation.failure.get_or_insert("another one is wanted".to_owned());
                generation.kill();
            }
        }
        let number = self.generations_ever + 1;
        let drain_ms = self.plan.drain_ms();
        let started =
            if processes >= PROCESSES_MAX || self.generations.len() >= GENERATIONS_MAX * PROCESSES_MAX {
                Err(format!("{processes} processes still finish what is under way"))
            } else {
                let sockets = self.sockets.only(&ward.part.keys);
                let start = ward.part.start(number, sockets.counts(), &ward.ticket_keys, drain_ms);
                Generation::start_for(name, number, start, &sockets)
            };
        match started {
            Ok(generation) => {
                self.generations_ever = number;
                self.generations.push(generation);
                Some(number)
            }
            Err(sentence) => {
                self.apart_failed(place, sentence);
                None
            }
        }
    }

    /// A process of one endpoint has come to serve: those before it finish what they have.
    pub(super) fn serves_apart(&mut self, index: usize, name: &str, addresses: &[String]) {
        let drain = self.plan.drain;
        let number = self.generations[index].number;
        let Some(ward) = self.wards.iter_mut().find(|ward| ward.part.name == name) else {
            return end(&mut self.generations[index], Duration::ZERO);
        };
        (ward.restart_at, ward.is_behind) = (None, false);
        ward.failure = None;
        for (other, generation) in self.generations.iter_mut().enumerate() {
            if other == index {
                generation.phase = Phase::Serving;
                generation.since = Instant::now();
                generation.deadline = None;
            } else if generation.endpoint.as_deref() == Some(name) && generation.phase != Phase::Starting {
                end(generation, drain);
            }
        }
        let (process, addresses) = (self.generations[index].process, addresses.join(", "));
        let process = process.as_raw_nonzero();
        say!("Endpoint \"{name}\" is served by server process {number} (pid {process}), at {addresses}.");
        self.came(Awaited::Process(number), None);
    }

    /// What came of an order to take another configuration.
    pub(super) fn reloaded_apart(&mut self, name: &str, id: u64, error: Option<&str>) {
        if let Some(ward) = self.wards.iter_mut().find(|ward| ward.told == Some(id)) {
            ward.told = None;
            ward.is_behind = error.is_some();
        }
        let complaint = error.map(|error| format!("endpoint \"{name}\" goes on as it was: {error}"));
        self.came(Awaited::Answer(id), complaint);
    }

    /// A process of one endpoint has ended.
    pub(super) fn ended_apart(&mut self, generation: &Generation, name: &str, reason: &str) {
        let number = generation.number;
        let Some(place) = self.wards.iter().position(|ward| ward.part.name == name) else {
            return self.came(Awaited::Process(number), None);
        };
        match generation.phase {
            Phase::Draining => {}
            Phase::Starting => {
                let is_outdated = self.generations.iter().any(|other| {
                    other.endpoint.as_deref() == Some(name)
                        && other.phase != Phase::Draining
                        && other.number > number
                });
                if !is_outdated {
                    let reason = reason.trim_end_matches('.').to_owned();
                    self.apart_failed(place, reason.clone());
                    let complaint = format!("endpoint \"{name}\" is not served anew: {reason}");
                    return self.came(Awaited::Process(number), Some(complaint));
                }
            }
            Phase::Serving => {
                let ward = &mut self.wards[place];
                ward.deaths += 1;
                ward.failure = Some(reason.to_owned());
                if generation.since.elapsed() > HEALTHY_AFTER {
                    ward.back_off = next_back_off(None);
                }
                say!("ringway: process {number} of endpoint \"{name}\" died: {reason}.");
                self.restart_apart(place);
                if let Some(id) = self.wards[place].told.take() {
                    let died = format!("the process of endpoint \"{name}\" died");
                    self.came(Awaited::Answer(id), Some(died));
                }
            }
        }
        self.came(Awaited::Process(number), None);
    }

    /// No process starts for it.
    fn apart_failed(&mut self, place: usize, reason: String) {
        let name = self.wards[place].part.name.clone();
        let is_served = self.generations.iter().any(|generation| {
            generation.endpoint.as_ref() == Some(&name) && generation.phase == Phase::Serving
        });
        if is_served {
            say!("ringway: endpoint \"{name}\" goes on as it was: its new process does not start: {reason}.");
        } else {
            say!("ringway: the process of endpoint \"{name}\" does not start: {reason}.");
        }
        self.wards[place].failure = Some(reason);
        self.wards[place].is_behind = is_served;
        if !is_served {
            self.restart_apart(place);
        }
    }

    fn restart_apart(&mut self, place: usize) {
        if self.is_stopping() {
            return;
        }
        let ward = &mut self.wards[place];
        ward.restart_at = Some(Instant::now() + ward.back_off);
        say!("Endpoint \"{}\" is started again in {} ms.", ward.part.name, ward.back_off.as_millis());
        ward.back_off = next_back_off(Some(ward.back_off));
    }

    /// Starts what is due.
    pub(super) fn keep_time_apart(&mut self, now: Instant) {
        let due = |ward: &&Ward| ward.restart_at.is_some_and(|at| at <= now);
        let names: Vec<String> = self.wards.iter().filter(due).map(|ward| ward.part.name.clone()).collect();
        for name in names {
            self.start_apart(&name);
        }
        if !self.wards.is_empty() && self.figures_at <= now {
            self.figures_at = now + FIGURES_EVERY;
            self.fetch_figures();
            self.look_apart();
        }
    }

    /// When something is due.
    pub(super) fn deadline_apart(&self) -> Option<Instant> {
        let figures = (!self.wards.is_empty()).then_some(self.figures_at);
        self.wards.iter().filter_map(|ward| ward.restart_at).chain(figures).min()
    }

    /// Starts those again of which no process was passed on by the program before.
    pub(super) fn resume_apart(&mut self) {
        for place in 0..self.wards.len() {
            let name = &self.wards[place].part.name;
            if !self.generations.iter().any(|generation| generation.endpoint.as_ref() == Some(name)) {
                self.restart_apart(place);
            }
        }
    }

    /// Nothing is started any more.
    pub(super) fn stop_apart(&mut self) {
        self.wards.iter_mut().for_each(|ward| ward.restart_at = None);
    }

    /// Gives an endpoint another process where something else lies now at a path that its process was allowed.
    fn look_apart(&mut self) {
        if self.task.is_some() || self.is_stopping() {
            return;
        }
        let outdated = |generation: &Generation| {
            let name = generation.endpoint.clone().filter(|_| generation.phase == Phase::Serving)?;
            Some((name, generation.grants.outdated()?.display().to_string()))
        };
        let found = self.generations.iter().find_map(outdated);
        let is_starting = |name: &str| {
            self.generations.iter().any(|generation| {
                generation.endpoint.as_deref() == Some(name) && generation.phase == Phase::Starting
            })
        };
        if let Some((name, path)) = found.filter(|(name, _)| !is_starting(name)) {
            say!("{path} was replaced: endpoint \"{name}\" gets another process.");
            self.start_apart(&name);
        }
    }

    /// Keys of session tickets that a process of one endpoint has told. Each endpoint has its own: whoever breaks into one
    /// process learns nothing of the others'.
    pub(super) fn keep_keys_apart(&mut self, name: &str, keys: Vec<u8>) {
        if let Some(ward) = self.wards.iter_mut().find(|ward| ward.part.name == name) {
            ward.ticket_keys = keys;
        }
    }

    /// Asks the processes what they have counted, and tells the one with the faces what they said last.
    fn fetch_figures(&mut self) {
        for place in 0..self.wards.len() {
            let id = self.next_id();
            let ward = &mut self.wards[place];
            let serving = self.generations.iter_mut().find(|generation| {
                generation.endpoint.as_ref() == Some(&ward.part.name) && generation.phase == Phase::Serving
            });
            let Some(serving) = serving else { continue };
            ward.asked = Some(id);
            serving.tell(&Order::Console {
                id,
                request: json!({ "command": FIGURES_COMMAND, "arguments": [ward.part.name] }),
            });
        }
        let figures = self.figures_apart();
        if let Some(current) = self.current().filter(|current| current.program == env!("CARGO_PKG_VERSION")) {
            current.tell(&Order::Apart { figures });
        }
    }

    /// The process that a request of the console is for: of the endpoint that it names, if that has one.
    pub(super) fn asked_for(&mut self, request: &Value) -> Option<&mut Generation> {
        let command = request.get("command")?.as_str()?;
        let name = request.get("arguments")?.get(0)?.as_str()?;
        let is_apart = COMMANDS.contains(&command) && self.wards.iter().any(|ward| ward.part.name == name);
        let is_serving = |generation: &&mut Generation| {
            generation.endpoint.as_deref() == Some(name) && generation.phase == Phase::Serving
        };
        self.generations.iter_mut().find(is_serving).filter(|_| is_apart)
    }

    /// An answer of a process of one endpoint; whether it was one to a question of ours.
    pub(super) fn answered_apart(&mut self, id: u64, answer: &Value) -> bool {
        let Some(ward) = self.wards.iter_mut().find(|ward| ward.asked == Some(id)) else { return false };
        ward.asked = None;
        ward.figures = answer.get("data").cloned().unwrap_or_default();
        true
    }

    /// What is known of the endpoints with processes of their own.
    pub(super) fn figures_apart(&self) -> Value {
        let of_ward = |ward: &Ward| {
            let name = &ward.part.name;
            let current = self.generations.iter().find(|generation| {
                generation.endpoint.as_ref() == Some(name) && generation.phase == Phase::Serving
            });
            let waits_ms = ward.restart_at.map(|at| {
                u64::try_from(at.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX)
            });
            json!({
                "name": name,
                "process": current.map(|current| current.process.as_raw_nonzero().get()),
                "number": current.map(|current| current.number),
                "seconds": current.map(|current| current.since.elapsed().as_secs()),
                "deaths": ward.deaths,
                "failure": ward.failure,
                "restart_in_ms": waits_ms,
                "is_behind": ward.is_behind,
                "figures": ward.figures,
            })
        };
        Value::Array(self.wards.iter().map(of_ward).collect())
    }
}

/// Lets one finish what is under way, once.
fn end(generation: &mut Generation, within: Duration) {
    match generation.phase {
        Phase::Draining => {}
        Phase::Starting => generation.kill(),
        Phase::Serving => generation.drain(within),
    }
}
