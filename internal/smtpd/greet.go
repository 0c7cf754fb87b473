package smtpd

import (
	"net/netip"

	"sekisho/internal/anvil"
	"sekisho/internal/mail"
	"sekisho/internal/restrict"
)

// greet is the beginning of a session, and again of one that XCLIENT changes:
// TLS where the port demands it, limits, client restrictions, the greeting.
func (s *session) greet() error {
	s.xclientAllowed = s.matchHost(s.set.lists.xclient)
	s.denied = mail.Reply{}
	s.bare = s.bareMode()
	s.wire.SetStrict(s.bare != bareAllow)
	if s.set.tls.wrapper && s.tls == nil {
		if err := s.wrapTLS(); err != nil {
			return err
		}
	}
	if r := s.connectLimits(); !r.IsZero() {
		s.reply(r)
		return errDone
	}
	s.discard = s.discardFor()
	if err := s.activateSASL(); err != nil {
		return err
	}
	if s.pipelined() && s.set.forbidPipelining {
		s.reply(outOfStep)
		return errDone
	}
	out := s.decide(restrict.StageConnect)
	switch {
	case out.Hangup:
		return errDone
	case !out.Reply.IsZero():
		s.denied = out.Reply
		return s.error(out.Reply)
	}
	return s.reply(mail.Reply{Code: 220, Text: s.set.banner})
}

// decide asks the restrictions and logs what they have to say.
func (s *session) decide(stage restrict.Stage) restrict.Outcome {
	s.facts.ProtocolState = s.where
	out := s.srv.o.Program.Decide(stage, &s.facts, s.src, s.carry)
	s.carry = out.Carry
	if out.Hangup {
		s.wire.Forget() // Postfix closes without sending what waits
	}
	if !out.Reply.IsZero() {
		s.blame(out.Class)
	}
	for _, n := range out.Notes {
		log := s.srv.log
		if n.Service == "trivial-rewrite" {
			log = s.srv.rewriteLog
		}
		log.Log(s.ctx, n.Level, n.Text)
	}
	return out
}

// limited reports whether this client's events are counted at all.
func (s *session) limited() bool {
	return s.set.limits.any() && !s.xclientAllowed && !s.matchHost(s.set.lists.noLimits)
}

// count counts an event of the client. over tells that it is one too many.
func (s *session) count(kind anvil.Kind, limit int) (rate int, over bool) {
	if !s.limited() {
		return 0, false
	}
	rate = s.srv.o.Anvil.Count(s.key(), kind)
	return rate, limit > 0 && rate > limit
}

func (s *session) key() anvil.Key {
	addr, err := netip.ParseAddr(s.facts.ClientAddress)
	if err != nil { // "unknown": all such clients count as one
		addr = netip.IPv6Unspecified()
	}
	return anvil.KeyOf(s.srv.o.Service, addr, s.set.limits.bits4, s.set.limits.bits6)
}

// connectLimits counts the connection and refuses it when there are too many.
func (s *session) connectLimits() mail.Reply {
	s.anvilDisconnect()
	if !s.limited() {
		return mail.Reply{}
	}
	s.anvilKey, s.counted = s.key(), true
	open, rate := s.srv.o.Anvil.Connect(s.anvilKey)
	what, n := "", 0
	switch l := s.set.limits; {
	case l.connections > 0 && open > l.connections:
		what, n = "concurrency", open
	case l.connectionRate > 0 && rate > l.connectionRate:
		what, n = "rate", rate
	default:
		return mail.Reply{}
	}
	s.warn("Connection %s limit exceeded: %d from %s for service %s", what, n, s.facts.NameAddr(), s.srv.o.Service)
	return mail.Reply{
		Code: 421, Status: "4.7.0",
		Text: s.set.myhostname + " Error: too many connections from " + s.facts.ClientAddress,
	}
}

func (s *session) anvilDisconnect() {
	if s.counted {
		s.srv.o.Anvil.Disconnect(s.anvilKey)
		s.counted = false
	}
}
