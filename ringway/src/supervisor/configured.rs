//! Plans from configuration files.

use super::plan::{Apart, Bound, Place, Plan, Source};
use crate::assembly::endpoint::{balance, datagrams, key, listen_options};
use crate::config::load;
use crate::config::settings::{self, Config, EndpointProtocol, Site};
use crate::config::surroundings::{self, Questions};
use crate::config::values::{BackendAddress, FilePath, Listen, LogTarget};
use crate::control::Secrets;
use crate::engine::ring::socket::Address;
use crate::engine::{Endpoint, WorkerHandle};
use crate::sandbox::{Identity, Outward, Rules};
use crate::tls::SYSTEM_FILES;
use crate::web::upstream::Origin;
use crate::web::user_dirs;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of a file that is read for a server process.
const SECRET_BYTES_MAX: u64 = 16 << 20;

/// What a process reads to find the address of a name.
const RESOLVER: [&str; 5] =
    ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"];

/// What a process reads to load the libraries that a library needs.
const LOADER: [&str; 5] = ["/etc/ld.so.cache", "/lib", "/lib64", "/usr/lib", "/usr/local/lib"];

/// The port of name servers.
const DNS: u16 = 53;

/// The first number of people, where a site serves the directories of all of them.
const ORDINARY_USER_MIN: u32 = 1000;

/// A configuration file.
#[derive(Clone, Debug)]
pub struct Configured {
    file: PathBuf,
}

impl Configured {
    /// The configuration in `file`.
    #[must_use]
    pub fn new(file: PathBuf) -> Self {
        Self { file }
    }
}

impl Source for Configured {
    fn load(&mut self) -> Result<Plan, String> {
        let mut loaded = load::load(&self.file, &|name| std::env::var(name).ok())?;
        // Ports are ours, mostly; who else has one is seen when it is bound.
        surroundings::check(&mut loaded, Questions { hosts: true, ports: false, expiry: false });
        let told = loaded.report.text(false);
        if loaded.report.has_errors() {
            return Err(format!("{} cannot be used\n{told}", self.file.display()));
        }
        let mut config = loaded.config;
        resolve(&mut config)?;
        let secrets = read_secrets(&config)?;
        let mut plan = plan(&config, secrets)?;
        plan.notes.extend((!told.is_empty()).then(|| told.trim_end().to_owned()));
        Ok(plan)
    }

    fn revive(&mut self, settings: Value, secrets: Secrets) -> Result<Plan, String> {
        let config = serde_json::from_value(settings)
            .map_err(|error| format!("not this program's settings: {error}"))?;
        plan(&config, secrets)
    }
}

/// Puts addresses in the place of names: the server process asks nobody for them.
fn resolve(config: &mut Config) -> Result<(), String> {
    for endpoint in &mut config.endpoint {
        let mut resolved = Vec::new();
        for listen in &endpoint.listen {
            match listen {
                Listen::Named(..) => {
                    let text = |address: Address| Listen::At(address.to_string(), vec![address]);
                    resolved.extend(listen.resolve()?.into_iter().map(text));
                }
                other => resolved.push(other.clone()),
            }
        }
        endpoint.listen = resolved;
    }
    Ok(())
}

fn plan(config: &Config, secrets: Secrets) -> Result<Plan, String> {
    let server = &config.server;
    let settings = json_of(config)?;
    let (shared, apart) = parted(config);
    let served = if apart.is_empty() { settings.clone() } else { json_of(&shared)? };
    let apart = apart.iter().map(|config| part(config, &secrets)).collect::<Result<Vec<_>, _>>()?;
    #[cfg(feature = "cgi")]
    let scripts = crate::assembly::script_rules(config)?;
    #[cfg(not(feature = "cgi"))]
    let scripts: Vec<()> = Vec::new();
    let fixed = json!({
        "driver": settings["server"]["driver"], "wait": settings["server"]["wait"], "cpus": settings["server"]["cpus"],
        "open_files": server.open_files, "pool_threads": server.pool_threads, "sandbox": settings["server"]["sandbox"],
        "scripts": scripts,
    });
    Ok(Plan {
        settings,
        served,
        secrets,
        watched: secret_files(config).map(|(path, _)| path.as_path().to_owned()).collect(),
        places: places(config)?,
        apart,
        workers: workers(server),
        rules: rules(&shared)?,
        fixed,
        drain: Duration::from_millis(server.drain.ms()),
        pid_file: server.pid_file.as_ref().map(|path| path.as_path().to_owned()),
        console: config.console.enabled.then(|| config.console.socket.as_path().to_owned()),
        notes: Vec::new(),
        #[cfg(feature = "cgi")]
        scripts,
    })
}

fn json_of(config: &Config) -> Result<Value, String> {
    serde_json::to_value(config).map_err(|error| format!("the settings have no JSON form: {error}"))
}

/// What one server process serves, and beside it a configuration for each endpoint that has one of its own: there is nothing
/// in it but that endpoint, and certificates if it shows some.
fn parted(config: &Config) -> (Config, Vec<Config>) {
    let is_apart = |endpoint: &settings::Endpoint| endpoint.isolate.is_some();
    let mut shared = config.clone();
    shared.endpoint.retain(|endpoint| !is_apart(endpoint));
    let alone = |endpoint: &settings::Endpoint| {
        let mut alone = config.clone();
        // In its process it is with everything else that is there.
        alone.endpoint = vec![settings::Endpoint { isolate: None, ..endpoint.clone() }];
        (alone.console, alone.dashboard) = Default::default();
        (alone.metrics, alone.health) = Default::default();
        (alone.acme, alone.governor, alone.rate_limit) = (None, None, None);
        // Certificates of an authority are issued to the process that serves the rest, and change there.
        alone.certificate.retain(|certificate| endpoint.tls && !certificate.acme);
        alone.upstream.clear();
        alone.service.clear();
        alone.site.clear();
        alone.user.clear();
        alone
    };
    let apart = config.endpoint.iter().filter(|endpoint| is_apart(endpoint)).map(alone).collect();
    (shared, apart)
}

/// What a process that serves one endpoint is given.
fn part(config: &Config, secrets: &Secrets) -> Result<Apart, String> {
    if let Some(endpoint) = config.endpoint.iter().find(|endpoint| endpoint.tls)
        && config.certificate.is_empty()
    {
        let name = &endpoint.name;
        return Err(format!(
            "the endpoint \"{name}\" has a process of its own, which needs a [[certificate]] with `cert` and `key`: those of an \
             authority are shown by the process that gets them"
        ));
    }
    let mut own = Secrets::default();
    for (path, _) in secret_files(config) {
        let path = path.to_string();
        if let Some(bytes) = secrets.get(&path) {
            own.insert(&path, bytes.to_vec());
        }
    }
    Ok(Apart {
        name: config.endpoint.iter().map(|endpoint| endpoint.name.to_string()).collect(),
        settings: json_of(config)?,
        secrets: own,
        keys: places(config)?.into_iter().map(|place| place.key).collect(),
        workers: workers(&config.server),
        rules: rules(config)?,
    })
}

fn workers(server: &settings::Server) -> usize {
    match server.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => usize::from(count),
    }
}

/// Where to listen. The key of an address is how it is written in full; the server process makes the same of its settings.
fn places(config: &Config) -> Result<Vec<Place>, String> {
    let mut places = Vec::new();
    for endpoint in &config.endpoint {
        let (balance, listen) = (balance(endpoint.balance), listen_options(endpoint));
        let limits = endpoint.limits.over(&config.limits);
        for written in &endpoint.listen {
            if let Listen::Passed(_) = written {
                places.push(Place { key: written.to_string(), bound: Bound::Passed });
            }
            for address in written.resolve()? {
                let key = key(endpoint, &address);
                let bound = match (endpoint.spoken(), address) {
                    (EndpointProtocol::Udp, Address::Tcp(address)) => {
                        Bound::Datagrams(datagrams(address, endpoint, &limits))
                    }
                    (_, address) => {
                        let nothing =
                            Arc::new(|_: &WorkerHandle| Err(io::Error::other("nobody serves here")));
                        Bound::Streams(Endpoint { balance, listen, ..Endpoint::new(address, nothing) })
                    }
                };
                places.push(Place { key, bound });
            }
        }
    }
    Ok(places)
}

/// What the server process needs of the machine.
fn rules(config: &Config) -> Result<Rules, String> {
    let server = &config.server;
    let group = server.group.as_ref().map(ToString::to_string);
    let identity =
        server.user.as_ref().map(|user| Identity::find(&user.to_string(), group.as_deref())).transpose()?;
    let mut read = BTreeSet::new();
    for site in &config.site {
        read.extend(site.root.as_ref().map(path_of));
        read.extend(site.error_pages.values().map(path_of));
        read.extend(site.route.iter().flat_map(|route| [&route.root, &route.alias]).flatten().map(path_of));
        let sent = site.route.iter().filter_map(|route| route.fastcgi.as_ref());
        read.extend(sent.flat_map(|fastcgi| &fastcgi.send_file).map(|dir| path_of(&dir.root)));
        read.extend(homes(&site.user_directories));
        // A file of users is replaced when it changes, so what may be read is its folder.
        let auths = site.route.iter().filter_map(|route| route.auth.as_ref()).chain(&site.auth);
        let users = auths.filter_map(|auth| auth.users_file.as_ref());
        read.extend(users.filter_map(|path| path.as_path().parent().map(Path::to_owned)));
    }
    let logs = config.site.iter().filter_map(|site| site.access_log.as_ref()).chain([&config.log.access]);
    let targets = logs.map(|log| &log.path).chain([&config.log.error.path]);
    let folder = |target: &LogTarget| match target {
        LogTarget::File(path) => path.parent().map(Path::to_owned),
        LogTarget::Stdout | LogTarget::Stderr => None,
    };
    let mut write: BTreeSet<PathBuf> = targets.filter_map(folder).collect();
    write.extend(config.spool.directory.as_ref().map(path_of));
    write.extend(config.service.iter().filter_map(|service| service.log.as_ref()).filter_map(folder));
    // A library is replaced when it changes, so what may be read is its folder.
    let libraries = config.service.iter().filter_map(|service| service.library.as_ref());
    let libraries = libraries.chain(hooks(config)).map(FilePath::as_path).chain(of_endpoints(config));
    read.extend(libraries.filter_map(|path| path.parent().map(Path::to_owned)));
    let mut connect = Vec::new();
    let mut outward = Outward::default();
    if let Some(acme) = authority(config) {
        (outward.authority, outward.names) = (true, true);
        read.extend(SYSTEM_FILES.iter().map(PathBuf::from));
        own_directory(acme.storage.as_path(), "certificates", identity.as_ref())?;
        write.insert(path_of(&acme.storage));
        connect.push(acme.directory.port());
    }
    let behind = servers_behind(config);
    outward.upstreams |= behind.is_any;
    outward.names |= behind.is_named;
    connect.extend(behind.ports);
    if behind.is_vouched_for {
        read.extend(SYSTEM_FILES.iter().map(PathBuf::from));
    }
    if outward.names {
        read.extend(RESOLVER.iter().map(PathBuf::from));
        // Names are asked for over TCP when the answer is long.
        connect.push(DNS);
    }
    let mut trees: BTreeSet<PathBuf> = config.site.iter().flat_map(changed_roots).map(path_of).collect();
    for data in config.service.iter().filter_map(|service| service.data.as_ref()) {
        own_directory(data.as_path(), "a service's data", identity.as_ref())?;
        trees.insert(path_of(data));
    }
    read.extend(config.service.iter().filter_map(|service| service.files.as_ref()).map(path_of));
    read.extend(config.endpoint.iter().filter_map(settings::Endpoint::reads).map(Path::to_owned));
    outward.libraries = config.service.iter().any(|service| service.library.is_some())
        || hooks(config).next().is_some()
        || of_endpoints(config).next().is_some();
    if outward.libraries {
        // What they need themselves is looked for there.
        read.extend(LOADER.iter().map(PathBuf::from));
    }
    Ok(Rules {
        trees: trees.into_iter().collect(),
        is_off: server.sandbox == settings::Sandbox::Off,
        read: read.into_iter().collect(),
        write: write.into_iter().collect(),
        connect,
        outward,
        identity,
    })
}

/// The libraries that hook into the stages of requests.
fn hooks(config: &Config) -> impl Iterator<Item = &FilePath> {
    config.site.iter().flat_map(|site| &site.hook).map(|hook| &hook.library)
}

/// The libraries of endpoints.
fn of_endpoints(config: &Config) -> impl Iterator<Item = &Path> {
    config.endpoint.iter().flat_map(settings::Endpoint::libraries)
}

/// What is reached for the sake of servers behind this one. Which Unix sockets may be connected to no kernel can be told that
/// is known here.
struct ServersBehind {
    is_any: bool,
    /// Names of theirs are looked up.
    is_named: bool,
    /// Their certificates are compared with the authorities of the system.
    is_vouched_for: bool,
    ports: BTreeSet<u16>,
}

fn servers_behind(config: &Config) -> ServersBehind {
    let of_endpoints: Vec<BackendAddress> =
        config.endpoint.iter().flat_map(settings::Endpoint::reaches).collect();
    let of_services = || config.service.iter().flat_map(|service| &service.connect).chain(&of_endpoints);
    let origins = || {
        let backends = config.upstream.iter().flat_map(|upstream| &upstream.backend);
        backends.map(|backend| &backend.address).chain(of_services()).map(BackendAddress::origin)
    };
    let tls = || config.upstream.iter().filter_map(|upstream| upstream.tls.as_ref());
    let port = |origin: &Origin| match origin {
        Origin::Tcp(address) => Some(address.port()),
        Origin::Named(_, port) => Some(*port),
        Origin::Unix(_) => None,
    };
    ServersBehind {
        is_any: !config.upstream.is_empty() || of_services().next().is_some(),
        is_named: origins().any(|origin| matches!(origin, Origin::Named(..))),
        is_vouched_for: tls().any(|tls| tls.ca.is_none()) || !of_endpoints.is_empty(),
        ports: origins().filter_map(port).collect(),
    }
}

/// The roots of a site whose files clients change.
fn changed_roots(site: &Site) -> impl Iterator<Item = &FilePath> {
    let of_routes = site.route.iter().filter(|route| route.dav.is_some());
    let roots =
        of_routes.filter_map(|route| route.root.as_ref().or(route.alias.as_ref()).or(site.root.as_ref()));
    site.root.iter().filter(|_| site.dav.is_some()).chain(roots)
}

/// The authority, when something is wanted from it.
fn authority(config: &Config) -> Option<&settings::Acme> {
    let is_wanted = config.certificate.iter().any(|certificate| certificate.acme);
    config.acme.as_ref().filter(|_| is_wanted)
}

/// Makes the directory in which the server process keeps something (account and certificates, a service's data), and makes it
/// that one's own.
fn own_directory(path: &Path, what: &str, identity: Option<&Identity>) -> Result<(), String> {
    let cannot = |error| format!("cannot make {} for {what}: {error}", path.display());
    if !path.is_dir() {
        std::fs::create_dir_all(path).map_err(cannot)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(cannot)?;
        if let Some(identity) = identity {
            std::os::unix::fs::chown(path, Some(identity.user), Some(identity.group)).map_err(cannot)?;
        }
    }
    Ok(())
}

/// The directories of people that are served, and the file in which the server looks them up.
fn homes(directories: &settings::UserDirectories) -> Vec<PathBuf> {
    const USERS: &str = "/etc/passwd";
    if !directories.enabled {
        return Vec::new();
    }
    let text = std::fs::read_to_string(USERS).unwrap_or_default();
    let folder = directories.folder.to_string();
    let is_wanted = |account: &user_dirs::Account| match directories.users.as_slice() {
        [] => account.uid >= ORDINARY_USER_MIN,
        named => named.iter().any(|name| name.to_string() == *account.name),
    };
    let accounts = user_dirs::accounts(&text).into_iter().filter(is_wanted);
    accounts.map(|account| account.home.join(&folder)).chain([PathBuf::from(USERS)]).collect()
}

fn path_of(path: &FilePath) -> PathBuf {
    path.as_path().to_owned()
}

/// Files that the server process needs and shall not be able to read, with what they are.
fn secret_files(config: &Config) -> impl Iterator<Item = (&FilePath, &'static str)> {
    let certificates = config.certificate.iter().flat_map(|certificate| {
        let parts = [
            (&certificate.cert, "the certificate"),
            (&certificate.key, "the private key"),
            (&certificate.ocsp, "the OCSP answer"),
        ];
        parts.into_iter().filter_map(|(path, what)| Some((path.as_ref()?, what)))
    });
    let clients = &config.tls.client_certificates;
    let vouching = authority(config).and_then(|acme| acme.ca.as_ref());
    let behind = config.upstream.iter().filter_map(|upstream| upstream.tls.as_ref()?.ca.as_ref());
    certificates
        .chain(behind.map(|path| (path, "the authorities of an upstream")))
        .chain(clients.ca.as_ref().map(|path| (path, "the authorities of clients")))
        .chain(vouching.map(|path| (path, "the authority's own authority")))
}

fn read_secrets(config: &Config) -> Result<Secrets, String> {
    let mut secrets = Secrets::default();
    for (path, what) in secret_files(config) {
        let bytes = read(path.as_path()).map_err(|error| format!("cannot read {what} {path}: {error}"))?;
        secrets.insert(&path.to_string(), bytes);
    }
    Ok(secrets)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(SECRET_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::load_text;

    fn planned(text: &str) -> Plan {
        let loaded = load_text(Path::new("test.toml"), Path::new("/etc/ringway"), text, &|_| None);
        assert!(!loaded.report.has_errors(), "{}", loaded.report.text(false));
        plan(&loaded.config, Secrets::default()).expect("nothing is read for it")
    }

    #[test]
    fn a_server_process_gets_what_its_sites_and_logs_need_and_nothing_else() {
        let plan = planned(
            r#"
            [server]
            workers = 3
            drain = "7s"
            [log.access]
            path = "/var/log/ringway/access.log"
            [[endpoint]]
            name = "web"
            listen = ["127.0.0.1:8080", "systemd:extra"]
            [[site]]
            names = ["a.example"]
            root = "/srv/a"
            error_pages = { 404 = "/srv/pages/404.html" }
            [[site]]
            names = ["b.example"]
            root = "b"
            [[site.route]]
            path = "/files/**"
            alias = "/srv/files"
            "#,
        );
        let paths = |all: &[PathBuf]| all.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            paths(&plan.rules.read),
            ["/etc/ringway/b", "/srv/a", "/srv/files", "/srv/pages/404.html"]
        );
        assert_eq!(paths(&plan.rules.write), ["/var/log/ringway"]);
        assert_eq!((plan.rules.connect.len(), plan.rules.is_off, plan.workers), (0, false, 3));
        assert_eq!(plan.drain, Duration::from_secs(7));
        let keys: Vec<&str> = plan.places.iter().map(|place| place.key.as_str()).collect();
        assert_eq!(keys, ["127.0.0.1:8080", "systemd:extra"]);
        assert!(matches!(plan.places[1].bound, Bound::Passed));
    }
    #[test]
    fn servers_behind_are_reached_as_far_as_they_are_configured() {
        let rules = |upstream: &str| {
            let text = format!(
                "[[endpoint]]\nname = \"web\"\nlisten = [\"127.0.0.1:8080\"]\n[[site]]\nnames = [\"*\"]\nroot = \"/srv\"\n{upstream}"
            );
            planned(&text).rules
        };
        let nothing = rules("");
        assert_eq!((nothing.outward, nothing.connect.len()), (Outward::default(), 0));
        let local = rules("[[upstream]]\nname = \"a\"\nbackend = [{ address = \"unix:/run/a.sock\" }]");
        assert_eq!(local.outward, Outward { upstreams: true, ..Outward::default() });
        assert_eq!((local.connect.len(), local.read.len()), (0, 1));
        let far = rules(
            "[[upstream]]\nname = \"a\"\nbackend = [{ address = \"10.0.0.1:9000\" }, { address = \"app.example:8080\" }]\n\
             [[upstream]]\nname = \"b\"\nbackend = [{ address = \"10.0.0.2:9000\" }]\ntls = {}",
        );
        assert_eq!(far.outward, Outward { upstreams: true, names: true, ..Outward::default() });
        assert_eq!(far.connect, [8080, 9000, DNS]);
        for path in RESOLVER.iter().chain(SYSTEM_FILES) {
            assert!(far.read.contains(&PathBuf::from(path)), "{path}");
        }
        let handler = rules(
            "[[endpoint]]\nname = \"own\"\nlisten = [\"127.0.0.1:8081\"]\nhandler = \"lib:/x.so\"\nconnect = [\"10.0.0.1:9000\"]",
        );
        assert!(handler.outward.upstreams && handler.connect == [9000]);
        assert!(SYSTEM_FILES.iter().all(|path| handler.read.contains(&PathBuf::from(path))));
    }
}
