//! One site: its stages, routes, handlers, pages and edits, and the way of a request through them.

use crate::answer;
use crate::clock::ServerField;
use crate::error_page::ErrorPages;
use crate::exchange::{Course, Exchange, Leg, REWRITES_MAX};
use crate::field_edits::{FieldEdits, append_lines};
use crate::pipeline::{AnswerStage, Finish, Handled, Handler, Reply, RequestStage, ServedStage, Verdict};
use crate::routes::Routes;
use crate::site_counters::SiteCounters;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use std::fmt;
use std::sync::Arc;

/// A site. Its parts are asked in this order: its stages, the stages of the route that is found then, the route's handlers,
/// its own handlers, and the answer stages, each in their order. 404 when no handler calls a request its own.
pub struct Site {
    /// What it is called in logs and reports.
    pub name: Box<str>,
    /// Asked first; the first that does not pass decides.
    pub stages: Vec<Box<dyn RequestStage>>,
    /// Which part of the site answers for which paths.
    pub routes: Routes,
    /// Asked when no handler of a route has answered; the first whose request it is answers.
    pub handlers: Vec<Box<dyn Handler>>,
    /// Each is given every answer of stages and handlers.
    pub answers: Vec<Box<dyn AnswerStage>>,
    /// All are told what was served.
    pub served: Vec<Box<dyn ServedStage>>,
    /// Pages in place of the program's own.
    pub pages: Arc<ErrorPages>,
    /// Done to the heads of all answers.
    pub edits: FieldEdits,
    /// What answers say about the server.
    pub server: ServerField,
    /// What counts its requests on this worker and endpoint, if they are counted.
    pub counters: Option<Arc<SiteCounters>>,
    /// Sites that may be asked for over one another's connections have the same number: over TLS they show the same
    /// certificates and ask for the same of clients.
    pub tls: u32,
    /// Its number as a scope of the bandwidth governor ([`ringway_engine::Scope::Site`]); 0: it has none. The same site keeps
    /// its number when the configuration is read again.
    pub scope: u16,
}

impl Site {
    /// A site of that name with nothing in it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            stages: Vec::new(),
            routes: Routes::default(),
            handlers: Vec::new(),
            answers: Vec::new(),
            served: Vec::new(),
            pages: Arc::default(),
            edits: FieldEdits::default(),
            server: ServerField::default(),
            counters: None,
            tls: 0,
            scope: 0,
        }
    }

    /// A site that `handler` answers for.
    #[must_use]
    pub fn with_handler(name: &str, handler: impl Handler + 'static) -> Self {
        let mut site = Self::new(name);
        site.handlers.push(Box::new(handler));
        site
    }

    pub(crate) fn wants_details(&self) -> bool {
        self.served.iter().any(|stage| stage.wants_details())
    }

    /// Takes a request from where it stands to a decision, or to something that must be waited for; `finish` is what the
    /// last wait ended with. Never gives [`Handled::NotMine`] or [`Handled::Rewritten`].
    pub(crate) fn run(
        &self,
        exchange: &mut Exchange<'_>,
        finish: Option<Finish>,
    ) -> Result<Handled, EncodeError> {
        let mut handled = match finish {
            Some(finish) => match finish(exchange) {
                Ok(Handled::NotMine) => {
                    exchange.course.at += 1;
                    self.go_on(exchange)
                }
                handled => handled,
            },
            None => self.go_on(exchange),
        };
        // Answers are large to move: one that nobody changes is given back as it is.
        while !self.is_final(exchange, &handled) {
            handled = match handled? {
                Handled::Rewritten if exchange.course.rewrites >= REWRITES_MAX => {
                    return self.refuse(exchange, Status::INTERNAL_SERVER_ERROR);
                }
                Handled::Rewritten => {
                    exchange.course.rewrites += 1;
                    self.find_route(exchange);
                    self.go_on(exchange)
                }
                Handled::NotMine => exchange.error(Status::NOT_FOUND).map(Handled::Answer),
                Handled::Answer(reply) => match self.give_to_answer_stages(exchange, reply)? {
                    Handled::Answer(reply) => return self.edit(exchange, reply),
                    other => Ok(other),
                },
                decided @ (Handled::Close | Handled::Later(_)) => return Ok(decided),
            };
        }
        handled
    }

    /// Whether a decision is one that nobody here has a word in.
    fn is_final(&self, exchange: &Exchange<'_>, handled: &Result<Handled, EncodeError>) -> bool {
        match handled {
            Ok(Handled::Answer(_)) => {
                let has_stages = self.answers.get(exchange.course.answer_at as usize).is_some();
                !has_stages
                    && self.edits.is_empty()
                    && exchange.course.fields.is_none()
                    && exchange.course.route.is_none()
            }
            Ok(Handled::Rewritten | Handled::NotMine) => false,
            Ok(Handled::Close | Handled::Later(_)) | Err(_) => true,
        }
    }

    /// Answers with an error page before or instead of asking anybody.
    pub(crate) fn refuse(&self, exchange: &mut Exchange<'_>, status: Status) -> Result<Handled, EncodeError> {
        let reply = exchange.error(status)?;
        self.edit(exchange, reply)
    }

    /// Asks whoever is next, and so on, until one does not pass.
    fn go_on(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        if exchange.course.leg == Leg::Stages {
            if let Some(decided) = ask_stages(&self.stages, exchange)? {
                return Ok(decided);
            }
            if exchange.path == b"*" {
                // OPTIONS of the server as a whole is nobody's in particular.
                let plan = answer::options(exchange.common, exchange.memory)?;
                return Ok(Handled::Answer(plan.into()));
            }
            self.find_route(exchange);
        }
        if let Some(route) = exchange.course.route.and_then(|number| self.routes.get(number)) {
            if exchange.course.leg == Leg::RouteStages {
                if let Some(decided) = ask_stages(&route.stages, exchange)? {
                    return Ok(decided);
                }
                exchange.course.enter(Leg::RouteHandlers);
            }
            if exchange.course.leg == Leg::RouteHandlers {
                let decided = ask_handlers(&route.handlers, exchange);
                if !matches!(decided, Ok(Handled::NotMine)) {
                    return decided;
                }
                exchange.course.enter(Leg::Handlers);
            }
        }
        ask_handlers(&self.handlers, exchange)
    }

    fn find_route(&self, exchange: &mut Exchange<'_>) {
        exchange.course.route = self.routes.find(exchange.path);
        let has_route = exchange.course.route.is_some();
        exchange.course.enter(if has_route { Leg::RouteStages } else { Leg::Handlers });
    }

    fn give_to_answer_stages(
        &self,
        exchange: &mut Exchange<'_>,
        mut reply: Reply,
    ) -> Result<Handled, EncodeError> {
        while let Some(stage) = self.answers.get(exchange.course.answer_at as usize) {
            exchange.course.answer_at += 1;
            match stage.answer(exchange, reply)? {
                Handled::Answer(answer) => reply = answer,
                other => return Ok(other),
            }
        }
        Ok(Handled::Answer(reply))
    }

    fn edit(&self, exchange: &mut Exchange<'_>, mut reply: Reply) -> Result<Handled, EncodeError> {
        let len = &mut reply.plan.head_len;
        *len = self.edit_head(exchange.memory, *len, exchange.course)?;
        Ok(Handled::Answer(reply))
    }

    /// Does to a head what the site, the route and stages have asked for; gives its new length.
    pub(crate) fn edit_head(
        &self,
        memory: &mut [u8],
        mut len: usize,
        course: &Course,
    ) -> Result<usize, EncodeError> {
        if let Some(lines) = &course.fields {
            len = append_lines(memory, len, lines)?;
        }
        if !self.edits.is_empty() {
            len = self.edits.apply(memory, len)?;
        }
        match course.route.and_then(|number| self.routes.get(number)) {
            Some(route) if !route.edits.is_empty() => route.edits.apply(memory, len),
            _ => Ok(len),
        }
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("name", &self.name)
            .field("stages", &self.stages.len())
            .field("routes", &self.routes)
            .field("handlers", &self.handlers.len())
            .field("served", &self.served.len())
            .finish_non_exhaustive()
    }
}

fn ask_stages(
    stages: &[Box<dyn RequestStage>],
    exchange: &mut Exchange<'_>,
) -> Result<Option<Handled>, EncodeError> {
    while let Some(stage) = stages.get(exchange.course.at as usize) {
        exchange.course.mark();
        match stage.request(exchange)? {
            Verdict::Pass => exchange.course.at += 1,
            decided => return Ok(Some(decided.into())),
        }
    }
    Ok(None)
}

fn ask_handlers(handlers: &[Box<dyn Handler>], exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
    while let Some(handler) = handlers.get(exchange.course.at as usize) {
        exchange.course.mark();
        let decided = handler.handle(exchange);
        if !matches!(decided, Ok(Handled::NotMine)) {
            return decided;
        }
        exchange.course.at += 1;
    }
    Ok(Handled::NotMine)
}
