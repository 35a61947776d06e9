//! Interfaces, addresses, routes and routing rules of the calling thread's network namespace: the few requests of
//! rtnetlink(7) that Coracle makes itself.

use crate::engine::{Error, Result};
use ipnet::IpNet;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

/// The routing table that holds this host's own addresses.
pub const TABLE_LOCAL: u32 = 255;
/// The routing table in which routes are unless said otherwise.
pub const TABLE_MAIN: u32 = 254;

// linux/fib_rules.h
const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FR_ACT_TO_TBL: u8 = 1;
// linux/if_addr.h
const IFA_F_NODAD: u8 = 0x02;
// linux/if_link.h, linux/netlink.h
const IFLA_BRPORT_ISOLATED: u16 = 33;
const NLA_F_NESTED: u16 = 1 << 15;
/// Of struct nlmsghdr.
const HEADER: usize = 16;

/// A routing rule (ip-rule(8)): which packets look into which table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// IPv6, or IPv4.
    pub v6: bool,
    /// Lower ones are asked first; the kernel's own are 0 (local), 32766 (main), 32767 (default).
    pub priority: u32,
    /// The table.
    pub table: u32,
    /// Only packets from this address.
    pub source: Option<IpAddr>,
    /// Only packets of this IP protocol from the ports between these two, inclusive.
    pub source_ports: Option<(u8, u16, u16)>,
    /// Ignore what the table says if it is a default route.
    pub ignore_default: bool,
}

/// A route over an interface, without a gateway.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// Index of the interface.
    pub interface: u32,
    /// In which table.
    pub table: u32,
    /// Which of our addresses packets are from.
    pub source: Option<IpAddr>,
}

/// A socket to the kernel.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens one in the calling thread's network namespace.
    pub fn open() -> Result<Self> {
        let failed = |e: nix::Error| Error::os("open a netlink socket", e);
        let socket =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
                .map_err(failed)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(failed)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sets an interface up, with this MTU if given.
    pub fn up(&mut self, interface: u32, mtu: Option<u32>) -> Result<()> {
        let up = u32::try_from(libc::IFF_UP).unwrap_or(1);
        let mut message = Message::new(libc::RTM_NEWLINK, 0);
        message.bytes(&[0; 4]).number(interface).number(up).number(up);
        if let Some(mtu) = mtu {
            message.attribute(libc::IFLA_MTU, &mtu.to_ne_bytes());
        }
        self.request(message, "set an interface up")
    }

    /// The index of what an interface is the other end of, or on top of, in the namespace that has it; `None`: of nothing.
    pub fn peer(&mut self, interface: u32) -> Result<Option<u32>> {
        let link = self.attribute_of(interface, libc::IFLA_LINK)?;
        let index = link.and_then(|bytes| Some(u32::from_ne_bytes(bytes.try_into().ok()?)));
        Ok(index.filter(|index| *index > 0))
    }

    /// A bridge keeps the MAC address it has. One that it was not given it takes from its ports, the lowest of theirs
    /// (net/bridge/br_stp_if.c), and who knows it by its old one does not reach it for a while.
    pub fn keep_mac(&mut self, bridge: u32) -> Result<()> {
        let Some(mac) = self.attribute_of(bridge, libc::IFLA_ADDRESS)? else { return Ok(()) };
        let mut message = Message::new(libc::RTM_SETLINK, 0);
        message.link(bridge).attribute(libc::IFLA_ADDRESS, &mac);
        self.request(message, "give a bridge its MAC address")
    }

    /// What the kernel says of an interface under one of the names IFLA_…
    fn attribute_of(&mut self, interface: u32, wanted: u16) -> Result<Option<Vec<u8>>> {
        let mut message = Message::new(libc::RTM_GETLINK, 0);
        message.link(interface);
        let mut found = None;
        self.exchange(message, "look at an interface", |reply| {
            found = attribute(reply, wanted).map(<[u8]>::to_vec).or(found.take());
        })?;
        Ok(found)
    }

    /// Makes an interface a port of its bridge that forwards nothing to other such ports and nothing from them.
    pub fn isolate_port(&mut self, interface: u32) -> Result<()> {
        let mut message = Message::new(libc::RTM_SETLINK, 0);
        let bridge = u8::try_from(libc::AF_BRIDGE).unwrap_or(0);
        message.bytes(&[bridge, 0, 0, 0]).number(interface).number(0).number(0);
        // A nested attribute with one of its own, and that one's padding.
        let isolated =
            [&5_u16.to_ne_bytes()[..], &IFLA_BRPORT_ISOLATED.to_ne_bytes(), &[1, 0, 0, 0]].concat();
        message.attribute(libc::IFLA_PROTINFO | NLA_F_NESTED, &isolated);
        self.request(message, "isolate a port of a bridge")
    }

    /// Gives an interface an address, usable at once; nothing changes if it has it. No route is made for its network
    /// if the prefix length is that of a single address.
    pub fn add_address(&mut self, interface: u32, address: IpNet) -> Result<()> {
        let mut message = Message::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_REPLACE);
        message.bytes(&[family(address.addr()), address.prefix_len(), IFA_F_NODAD, 0]).number(interface);
        message.attribute(libc::IFA_LOCAL, &octets(address.addr()));
        message.attribute(libc::IFA_ADDRESS, &octets(address.addr()));
        self.request(message, &format!("add the address {address}"))
    }

    /// Takes an address away; nothing happens if it is not there.
    pub fn remove_address(&mut self, interface: u32, address: IpNet) -> Result<()> {
        let mut message = Message::new(libc::RTM_DELADDR, 0);
        message.bytes(&[family(address.addr()), address.prefix_len(), 0, 0]).number(interface);
        message.attribute(libc::IFA_LOCAL, &octets(address.addr()));
        absent(self.request(message, &format!("remove the address {address}"))).map(drop)
    }

    /// Adds a route, or replaces the one to the same destination.
    pub fn add_route(&mut self, route: &Route) -> Result<()> {
        let to = route.destination;
        // A directly connected IPv4 route has the scope of a link; IPv6 knows no scopes.
        let scope = if to.addr().is_ipv4() { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE };
        let table = u8::try_from(route.table).unwrap_or(0);
        let mut message = Message::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE);
        message
            .bytes(&[
                family(to.addr()),
                to.prefix_len(),
                0,
                0,
                table,
                libc::RTPROT_STATIC,
                scope,
                libc::RTN_UNICAST,
            ])
            .number(0);
        if to.prefix_len() > 0 {
            message.attribute(libc::RTA_DST, &octets(to.network()));
        }
        if let Some(source) = route.source {
            message.attribute(libc::RTA_PREFSRC, &octets(source));
        }
        message.attribute(libc::RTA_OIF, &route.interface.to_ne_bytes());
        message.attribute(libc::RTA_TABLE, &route.table.to_ne_bytes());
        self.request(message, &format!("add a route to {to}"))
    }

    /// Adds a rule; nothing changes if there is one like it.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<()> {
        let length = rule.source.map_or(0, |source| if source.is_ipv4() { 32 } else { 128 });
        let mut message = Message::new(libc::RTM_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_EXCL);
        message.rule(rule.v6, length, rule.table);
        message.attribute(FRA_PRIORITY, &rule.priority.to_ne_bytes());
        if let Some(source) = rule.source {
            message.attribute(FRA_SRC, &octets(source));
        }
        if let Some((protocol, first, last)) = rule.source_ports {
            message.attribute(FRA_IP_PROTO, &[protocol]);
            message.attribute(FRA_SPORT_RANGE, &[first.to_ne_bytes(), last.to_ne_bytes()].concat());
        }
        if rule.ignore_default {
            message.attribute(FRA_SUPPRESS_PREFIXLEN, &0_u32.to_ne_bytes());
        }
        match self.request(message, "add a routing rule") {
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Removes all rules that look into a table.
    pub fn remove_rules(&mut self, v6: bool, table: u32) -> Result<()> {
        loop {
            let mut message = Message::new(libc::RTM_DELRULE, 0);
            message.rule(v6, 0, table);
            if !absent(self.request(message, "remove a routing rule"))? {
                return Ok(());
            }
        }
    }

    /// Sends a request and waits for the kernel's answer.
    fn request(&mut self, message: Message, what: &str) -> Result<()> {
        self.exchange(message, what, |_| ())
    }

    /// The same for a request that is answered by more than that it is done.
    fn exchange(&mut self, message: Message, what: &str, mut reply: impl FnMut(&[u8])) -> Result<()> {
        self.sequence += 1;
        let failed = |e: nix::Error| Error::os(what, e);
        send(self.socket.as_raw_fd(), &message.finish(self.sequence), MsgFlags::empty()).map_err(failed)?;
        let mut buffer = [0; 8192];
        loop {
            let n = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(nix::Error::EINTR) => continue,
                other => other.map_err(failed)?,
            };
            match answer(&buffer[..n], self.sequence) {
                Some(0) => return Ok(()),
                Some(errno) => return Err(failed(nix::Error::from_raw(errno))),
                None => reply(&buffer[..n]),
            }
        }
    }
}

/// The error number in the acknowledgement of a request; `None` if it is of another.
fn answer(bytes: &[u8], sequence: u32) -> Option<i32> {
    let number = |at: usize| Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let wanted = i32::from(kind) == libc::NLMSG_ERROR && number(8)?.cast_unsigned() == sequence;
    wanted.then(|| number(HEADER).map(i32::wrapping_neg))?
}

/// An attribute of an RTM_NEWLINK message: they come after nlmsghdr and struct ifinfomsg, of 16 bytes each.
fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = bytes.get(2 * HEADER..)?;
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes([rest[2], rest[3]]) == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// Whether what a request was to remove was there.
fn absent(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH | libc::EADDRNOTAVAIL)) => {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

fn family(address: IpAddr) -> u8 {
    u8::try_from(if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }).unwrap_or(0)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// A request being written: nlmsghdr, the type's own header, attributes.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: libc::c_int) -> Self {
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK).unwrap_or(0);
        let mut message = Self(vec![0; HEADER]);
        message.0[4..6].copy_from_slice(&kind.to_ne_bytes());
        message.0[6..8].copy_from_slice(&flags.to_ne_bytes());
        message
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn number(&mut self, number: u32) -> &mut Self {
        self.bytes(&number.to_ne_bytes())
    }

    /// struct ifinfomsg.
    fn link(&mut self, interface: u32) -> &mut Self {
        self.bytes(&[0; 4]).number(interface).number(0).number(0)
    }

    /// struct fib_rule_hdr, and the table as an attribute, for a byte does not hold ours.
    fn rule(&mut self, v6: bool, source_length: u8, table: u32) {
        let family = u8::try_from(if v6 { libc::AF_INET6 } else { libc::AF_INET }).unwrap_or(0);
        self.bytes(&[family, 0, source_length, 0, 0, 0, 0, FR_ACT_TO_TBL]).number(0);
        self.attribute(FRA_TABLE, &table.to_ne_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(0);
        self.bytes(&length.to_ne_bytes()).bytes(&kind.to_ne_bytes()).bytes(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(0);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// The index of an interface in the calling thread's network namespace; `None`: there is none of that name.
pub fn index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// Sends one packet from `source`, which need not be an address of this host, to everybody behind an interface. It is of
/// an experimental protocol (RFC 3692) that nobody answers: all it tells is that `source` is there.
pub fn introduce(interface: u32, source: Ipv6Addr) -> Result<()> {
    let failed = |e: std::io::Error| Error::os(format!("send a packet from {source}"), e);
    let everybody = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut packet = vec![0x60, 0, 0, 0, 0, 8, 253, 1];
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&everybody.octets());
    packet.extend_from_slice(&[0; 8]);
    let socket = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|e| failed(e.into()))?;
    // SAFETY: all zeroes is a valid sockaddr_ll, a C structure of numbers.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
    to.sll_protocol = u16::try_from(libc::ETH_P_IPV6).unwrap_or(0).to_be();
    to.sll_ifindex = i32::try_from(interface).unwrap_or(0);
    to.sll_halen = 6;
    to.sll_addr = [0x33, 0x33, 0, 0, 0, 1, 0, 0];
    let length = libc::socklen_t::try_from(size_of_val(&to)).unwrap_or(0);
    // SAFETY: packet and address are valid for their lengths while the call lasts; the kernel only reads them.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const to).cast(),
            length,
        )
    };
    let outcome = if sent < 0 { Err(failed(std::io::Error::last_os_error())) } else { Ok(()) };
    // The kernel lets a packet socket go after a grace period of RCU (`packet_release`), which is 5 to 15 ms.
    let _ = std::thread::Builder::new().spawn(move || drop(socket));
    outcome
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
