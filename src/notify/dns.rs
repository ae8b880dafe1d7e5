//! The records of a name, asked of a name server: over UDP, or over TCP where the answer does not fit.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::config::RecordType;

/// For one server.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hosts with their ports behind `name`; of addresses the port is `port`.
///
/// # Errors
/// What each server said, or that none could be asked.
pub(super) async fn lookup(
    servers: &[SocketAddr],
    name: &str,
    kind: RecordType,
    port: u16,
) -> Result<Vec<String>, String> {
    let mut said = format!("{name}: no name server is known");
    for server in servers {
        match tokio::time::timeout(PATIENCE, ask(*server, name, kind)).await {
            Ok(Ok(bytes)) => {
                return hosts(&bytes, port).map_err(|error| format!("{name}: {server}: {error}"));
            }
            Ok(Err(error)) => said = format!("{name}: {server}: {error}"),
            Err(_) => said = format!("{name}: {server}: timed out"),
        }
    }
    Err(said)
}

/// The name servers of the system.
pub(super) fn system() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok());
    named.map(|address: IpAddr| SocketAddr::new(address, 53)).collect()
}

async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Result<Vec<u8>, String> {
    let id = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos() as u16;
    let query = query(id, name, kind)?;
    let io = |error: std::io::Error| error.to_string();
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A connected socket hears nobody else.
    let socket = UdpSocket::bind(any).await.map_err(io)?;
    socket.connect(server).await.map_err(io)?;
    socket.send(&query).await.map_err(io)?;
    let mut answer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut answer).await.map_err(io)?;
        let Ok(packet) = Packet::parse(&answer[..length]) else { continue };
        if packet.id() != id {
            continue;
        }
        if packet.has_flags(PacketFlag::TRUNCATION) {
            return over_tcp(server, &query).await.map_err(io);
        }
        answer.truncate(length);
        return Ok(answer);
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_u16(query.len() as u16).await?;
    stream.write_all(query).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn query(id: u16, name: &str, kind: RecordType) -> Result<Vec<u8>, String> {
    let kind = match kind {
        RecordType::Srv => TYPE::SRV,
        RecordType::A => TYPE::A,
        RecordType::Aaaa => TYPE::AAAA,
    };
    let name = Name::new(name.trim_end_matches('.')).map_err(|error| error.to_string())?;
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().map_err(|error| error.to_string())
}

fn hosts(bytes: &[u8], port: u16) -> Result<Vec<String>, String> {
    let packet = Packet::parse(bytes).map_err(|error| error.to_string())?;
    match packet.rcode() {
        RCODE::NoError => {}
        code => return Err(format!("{code:?}")),
    }
    let host = |data: &RData<'_>| match data {
        RData::SRV(srv) => Some(format!("{}:{}", srv.target, srv.port)),
        RData::A(a) => Some(format!("{}:{port}", Ipv4Addr::from(a.address))),
        RData::AAAA(a) => Some(format!("[{}]:{port}", std::net::Ipv6Addr::from(a.address))),
        _ => None,
    };
    Ok(packet.answers.iter().filter_map(|record| host(&record.rdata)).collect())
}

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, SRV};

    use super::*;

    /// A name server that answers every question alike, and over UDP only with a flag where the answer is too long.
    async fn server(answers: Vec<RData<'static>>, truncates: bool) -> SocketAddr {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = tokio::net::TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let reply = move |question: &[u8], whole: bool| {
            let asked = Packet::parse(question).unwrap();
            let mut reply = Packet::new_reply(asked.id());
            if whole {
                let name = asked.questions[0].qname.clone();
                let record =
                    |data: &RData<'static>| ResourceRecord::new(name.clone(), CLASS::IN, 1, data.clone());
                reply.answers = answers.iter().map(record).collect();
            } else {
                reply.set_flags(PacketFlag::TRUNCATION);
            }
            reply.build_bytes_vec().unwrap()
        };
        let again = reply.clone();
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut question).await {
                udp.send_to(&reply(&question[..length], !truncates), from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut question).await.unwrap();
                let answer = again(&question, true);
                stream.write_u16(answer.len() as u16).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn hosts_are_found_by_srv_and_a_records_however_long_the_answer() {
        let srv =
            RData::SRV(SRV { priority: 0, weight: 0, port: 9094, target: Name::new_unchecked("am1.local") });
        let a = RData::A(A { address: Ipv4Addr::new(10, 0, 0, 1).into() });
        for truncates in [false, true] {
            let at = server(vec![srv.clone(), a.clone()], truncates).await;
            let found = lookup(&[at], "_am._tcp.local", RecordType::Srv, 9093).await.unwrap();
            assert_eq!(found, ["am1.local:9094", "10.0.0.1:9093"], "{truncates}");
        }
    }

    #[tokio::test]
    async fn the_next_server_is_asked_where_one_does_not_answer() {
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let at = server(vec![RData::A(A { address: 1 })], false).await;
        assert_eq!(lookup(&[closed, at], "x", RecordType::A, 1).await.unwrap(), ["0.0.0.1:1"]);
        assert!(lookup(&[closed], "x", RecordType::A, 1).await.unwrap_err().starts_with("x: 127.0.0.1:"));
        assert!(lookup(&[], "x", RecordType::A, 1).await.unwrap_err().contains("no name server"));
    }
}
