//! What the report consists of: its chapters, the instruments each runs, and what a reader must know to judge them.

/// A chapter.
pub(super) struct Chapter {
    pub(super) title: &'static str,
    /// What is asked, what the seeds found, what this machine can and cannot show.
    pub(super) introduction: &'static str,
    pub(super) steps: &'static [Step],
}

/// One run of an instrument.
pub(super) struct Step {
    /// The name of its part.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// The lab's arguments. `{ringway}`, `{www}` and the names of peers are paths; an argument with `{yardstick}` is
    /// left out when there is none.
    pub(super) arguments: &'static [&'static str],
}

pub(super) const OPENING: &str = "
# Measurements

Written by `ringway-lab report`; every table and figure can be taken again with the command above it. Servers run on core 0,
generators on core 1, alternating in rotated rounds within one run; figures are medians.

What loopback on two cores can show: the CPU time that a server spends on a request or a datagram, side by side with others under
the same load, and how that changes with the number of connections. What it cannot show: what a network card, its interrupts
and its queues add; latencies below the machine's own jitter; scaling beyond one core; anything absolute, as the machine is
virtual and shared. So read the ratios.

The *seeds* are the systems that Ringway grew out of, as their authors measured them: Windows Registered I/O and the sockets
before it (2012, dual Xenon E5620, 1 Gbit), the Monkey web server beside G-Wan, thread-private heaps on NT 4. Their figures stand
beside ours as they were printed: other machines, other decades. What carries over is the shape.
";

const SWEEP_RINGWAY: &str = "ringway={ringway} serve {www} --listen 127.0.0.1:{port} --workers 1 --log off";
const URING: &str =
    "uring={ringway} serve {root} --listen 127.0.0.1:{port} --workers 1 --log off --driver uring";
const EPOLL: &str =
    "epoll={ringway} serve {root} --listen 127.0.0.1:{port} --workers 1 --log off --driver epoll";
const NGINX: &str = "nginx={nginx} {port} {root}";
const NGINX_CACHE: &str = "nginx-cache=env NGINX_HTTP='open_file_cache max=1000;' {nginx} {port} {root}";
const LIGHTTPD: &str = "lighttpd={lighttpd} {port} {root}";
const SITES: &str = "ringway=env RINGWAY={ringway} {ringway-sites} {port} {secure-port} {root}";
const NGINX_TLS: &str = "nginx={nginx-tls} {port} {secure-port} {root}";
const PROXY: &str = "ringway=env RINGWAY={ringway} {ringway-proxy} {port} {behind}";
const NGINX_PROXY: &str = "nginx={nginx-proxy} {port} {behind}";
const HAPROXY: &str = "haproxy={haproxy-proxy} {port} {behind}";
const PHP: &str = "ringway=env RINGWAY={ringway} {ringway-php} {port} {behind} {root}";
const NGINX_PHP: &str = "nginx={nginx-php} {port} {behind} {root}";
const HELLO: &str = "ringway={built} hello --port {port} --workers 1";
const HELLO_HYPER: &str = "hyper={built} axum-hyper --port {port}";
const AXUM: &str = "ringway={built} axum --port {port} --workers 1 --redis redis://127.0.0.1:{behind}/";
const AXUM_HYPER: &str = "hyper={built} axum-hyper --port {port} --redis redis://127.0.0.1:{behind}/";
const SOCKETS: &str = "ringway={built} echo --port {port} --workers 1";
const SOCKETS_ASYNC: &str = "async={built} echo --port {port} --workers 1 --async";
const TUNGSTENITE: &str = "tungstenite={built} tungstenite {port}";
const FLOOR: &str = "floor={built} websocket {port}";
const BROADCAST: &str = "sends={built} broadcast {port}";
const ENDPOINT: &str = "built-in=env RINGWAY={ringway} {project}/lab/peers/ringway-echo.sh {port} {udp-port}";
const PLUGIN: &str = "plug-in=env RINGWAY={ringway} {project}/lab/peers/ringway-echo.sh {port} {udp-port} plugin:echo plugin:udp_echo";
const PLAIN: &str = "plain={project}/lab/peers/echo-plain.sh {port} {udp-port}";
const SWEEP_NGINX: &str = "nginx={nginx} {port} {www}";

pub(super) const CHAPTERS: &[Chapter] = &[
    Chapter {
        title: "The machine",
        introduction: "
Gaps in which a spinning thread did not run: latency percentiles below them are the machine's, not a server's. And the limit of
each kind of exchange: servers that answer without parsing, on both drivers of the engine and without an engine.
",
        steps: &[
            Step { name: "jitter", title: "Jitter", arguments: &["jitter"] },
            Step { name: "ceiling", title: "Ceilings", arguments: &["ceiling", "--rounds", "3"] },
        ],
    },
    Chapter {
        title: "UDP: seven receivers, one generator",
        introduction: "
The seed sent datagrams of 1 KiB at full speed and let the receiver compute for each. On Windows a system call a datagram made the
traditional server lose most of them at once, while Registered I/O kept up. On this kernel a system call is cheap, so on loopback a
plain loop keeps up too at little work; the gain of rings is CPU time, and with trains (GSO, GRO) several times the rate.
When the work itself takes more than the core has, everybody drops, and the kernel counts what it drops.
",
        steps: &[
            Step { name: "udp-matrix", title: "The matrix", arguments: &["udp", "matrix", "--work", "0,100,300,500,700,1000,2000,5000,10000"] },
            Step {
                name: "udp-trains",
                title: "Trains of datagrams",
                arguments: &["udp", "matrix", "--gso", "--work", "0", "--servers", "ring-event,plain-polled", "--rounds", "9"],
            },
            Step {
                name: "udp-drain",
                title: "Draining filled sockets, and what a port's threads gain",
                arguments: &["udp", "drain", "--yardstick={yardstick}"],
            },
        ],
    },
    Chapter {
        title: "HTTP: few connections to many",
        introduction: "
The seed asked two servers for a file of 200 KB over connections that stay, from 100 to 1000 of them, and watched CPU time and memory. Monkey
served 29,231 requests a second with 3.4 MB, G-Wan 17,222 with 7.09 MB. Here Ringway stands beside Debian's nginx.
",
        steps: &[Step {
            name: "http-sweep",
            title: "The sweep",
            arguments: &["http", "sweep", "--path", "/200k.bin", SWEEP_RINGWAY, SWEEP_NGINX],
        }],
    },
    Chapter {
        title: "HTTP: workloads side by side",
        introduction: "
Files of 100 bytes over connections that stay (a), 16 requests together (b), a connection a request (c), files of 200 KB over 100 and 1000
connections (d100, d1000) and of 1 MB (e), and what a waiting connection takes (idle). Ringway on both drivers, nginx with and without
its cache of open files, lighttpd.
",
        steps: &[Step {
            name: "http-compare",
            title: "The comparison",
            arguments: &[
                "compare",
                "--cases",
                "a,b,c,d100,d1000,e,idle",
                "--seconds",
                "2",
                "--rounds",
                "3",
                URING,
                EPOLL,
                NGINX,
                NGINX_CACHE,
                LIGHTTPD,
            ],
        }],
    },
    Chapter {
        title: "HTTP over TLS, and HTTP/2",
        introduction: "
Files of 100 bytes and of 200 KB over TLS 1.3 (s), over HTTP/2 with one stream and with 16 together (h), and what a waiting TLS connection
takes (sidle). Ringway runs from a configuration, as an operator has it: a supervisor and a confined server process.
",
        steps: &[Step {
            name: "secure-compare",
            title: "The comparison",
            arguments: &[
                "compare",
                "--cases",
                "s100,s200k,h100,h100x16,h200k,sidle",
                "--idle-connections",
                "2000",
                "--seconds",
                "2",
                "--rounds",
                "3",
                NGINX_TLS,
                SITES,
            ],
        }],
    },
    Chapter {
        title: "Servers behind this one",
        introduction: "
The same upstream behind each front end, which is all that is measured: an nginx that serves files of 100 bytes and of 200 KB, over kept
connections and 64 of clients (p100, p200k); and a greeting by php-fpm over FastCGI, one pool for all, 32 connections (php).
Upstream and pool share the generator's core, so rates say little and the front end's CPU time says all.
",
        steps: &[
            Step {
                name: "proxy-compare",
                title: "Proxies",
                arguments: &[
                    "compare",
                    "--cases",
                    "p100,p200k",
                    "--seconds",
                    "2",
                    "--rounds",
                    "3",
                    "--behind",
                    "{nginx} {port} {root}",
                    NGINX_PROXY,
                    HAPROXY,
                    PROXY,
                ],
            },
            Step {
                name: "php-compare",
                title: "PHP",
                arguments: &[
                    "compare",
                    "--cases",
                    "php",
                    "--seconds",
                    "2",
                    "--rounds",
                    "3",
                    "--behind",
                    "{php-fpm} {port}",
                    NGINX_PHP,
                    PHP,
                ],
            },
        ],
    },
    Chapter {
        title: "Services and WebSockets",
        introduction: "
A handler that says hello, over 64 connections that stay (fa) and with 16 requests together (fb), beside one of axum's on hyper; the same
application of axum's on both: without a call elsewhere (j), with one call of Redis (r), and with one in a route that Ringway has tokio's
own thread run (t). Then echoes over WebSockets: 64 bytes one at a time and 16 together, and 16 KiB. *Floor* is a loop of epoll, recv and
send in C that takes the mask off and checks nothing: nearer to nothing no server of one receive and one send a message can come. Then one
message to 10,000 sockets beside a C loop of sends, without and with sockets that never read; and what a waiting socket takes.
",
        steps: &[
            Step {
                name: "hello-compare",
                title: "Hello",
                arguments: &["compare", "--cases", "fa,fb", "--path", "/", "--seconds", "2", "--rounds", "3", HELLO_HYPER, HELLO],
            },
            Step {
                name: "axum-compare",
                title: "One application of axum's, on hyper and on Ringway",
                arguments: &[
                    "compare",
                    "--cases",
                    "j:/json:64,r:/redis:64,t:/tokio/redis:64",
                    "--seconds",
                    "2",
                    "--rounds",
                    "3",
                    "--behind",
                    "{project}/lab/peers/redis.sh {port}",
                    AXUM_HYPER,
                    AXUM,
                ],
            },
            Step {
                name: "sockets-compare",
                title: "Echoes over WebSockets",
                arguments: &[
                    "compare",
                    "--cases",
                    "w64,w64x16,w16k",
                    "--seconds",
                    "2",
                    "--rounds",
                    "3",
                    TUNGSTENITE,
                    FLOOR,
                    SOCKETS,
                    SOCKETS_ASYNC,
                ],
            },
            Step {
                name: "broadcast-compare",
                title: "One message to all",
                arguments: &[
                    "compare", "--cases", "wcast,wstall", "--seconds", "2", "--rounds", "3", BROADCAST, SOCKETS,
                ],
            },
            Step {
                name: "sockets-idle",
                title: "Sockets that wait",
                arguments: &["compare", "--cases", "widle", "--rounds", "3", SOCKETS, SOCKETS_ASYNC, TUNGSTENITE],
            },
        ],
    },
    Chapter {
        title: "Endpoints",
        introduction: "
Echoes of 64 bytes on endpoints of one's own: the handlers that are built in, plug-ins in C of fifty lines, and plain servers in C (liburing,
recvmmsg). Over 64 TCP connections, with 16 messages under way on each, over 1000; datagrams of 64 peers, one and 16 under way; and what a
waiting connection takes. Ringway runs from a configuration: a supervisor and a confined server process.
",
        steps: &[
            Step {
                name: "endpoint-compare",
                title: "Echoes",
                arguments: &[
                    "compare",
                    "--cases",
                    "e64c64,e64c64x16,e64c1000,u64c64,u64c64x16",
                    "--seconds",
                    "2",
                    "--rounds",
                    "3",
                    PLAIN,
                    ENDPOINT,
                    PLUGIN,
                ],
            },
            Step {
                name: "endpoint-idle",
                title: "Connections that wait",
                arguments: &["compare", "--cases", "tidle", "--rounds", "3", PLAIN, ENDPOINT, PLUGIN],
            },
        ],
    },
    Chapter {
        title: "The bandwidth governor",
        introduction: "
How near to M the receivers' rates stay, for one large transfer and for hundreds of small ones.
",
        steps: &[Step { name: "governor", title: "Rates at the receivers", arguments: &["governor", "--workers", "1"] }],
    },
    Chapter {
        title: "Echo: the engine's own cost, and latency",
        introduction: "
What a message of 64 bytes costs to send back, without any protocol; and how long it takes there and back in each way of waiting.
",
        steps: &[
            Step { name: "echo-compare", title: "CPU time of an echo", arguments: &["echo", "compare"] },
            Step { name: "echo-pingpong", title: "Ping-pong", arguments: &["echo", "pingpong"] },
        ],
    },
    Chapter {
        title: "Heaps",
        introduction: "
The seed showed on NT 4 that threads which allocate from one heap wait for each other, and that a heap for each thread is 9 to 43 times
as fast up to 61,432 bytes. The allocators of today have thread caches; what is left to gain is small for small blocks and
large for buffers, and what stays is that a private heap needs no lock and can be thrown away whole.
",
        steps: &[Step { name: "heap", title: "HeapDemo today", arguments: &["heap", "--rounds", "3"] }],
    },
];
