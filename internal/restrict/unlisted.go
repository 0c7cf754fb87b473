package restrict

import (
	"strings"

	"sekisho/internal/rewrite"
)

func evalUnlistedSender(r *run, _ call) status {
	if r.mailFrom() == "" {
		return dunno
	}
	return r.unlistedSender()
}

func evalUnlistedRecipient(r *run, _ call) status {
	if r.rcptTo() == "" {
		return dunno
	}
	return r.unlistedRecipient()
}

func (r *run) unlistedSender() status {
	if r.carry.SenderChecked || r.p.set.noUnknownChecks || r.mailFrom() == "" {
		return dunno
	}
	if r.warnDepth == 0 {
		r.carry.SenderChecked = true
	}
	return r.unlisted(r.mailFrom(), classSender)
}

func (r *run) unlistedRecipient() status {
	if r.recipRcpt || r.p.set.noUnknownChecks || r.rcptTo() == "" {
		return dunno
	}
	if r.warnDepth == 0 {
		r.recipRcpt = true
	}
	return r.unlisted(r.rcptTo(), classRecipient)
}

// unlisted refuses an address of our own domains that no table lists.
func (r *run) unlisted(addr, class string) status {
	res := r.resolve(addr, class)
	if res.Failed {
		return r.lookupFailure(addr)
	}
	m := r.anyListed(r.rewriteMaps(class), res.Recipient)
	switch {
	case m.Failed:
		return r.matchFailure(m, addr)
	case m.Found:
		return dunno
	case res.Transport == "error" || res.Transport == "retry":
		return r.undeliverable(addr, class, res)
	}
	return r.unknownUser(addr, class, res)
}

// rewriteMaps are the tables that make an address known whatever its class.
func (r *run) rewriteMaps(class string) [][]string {
	s := &r.p.set
	if class == classSender {
		return [][]string{s.recipientCanonicalMaps, s.senderCanonicalMaps, s.canonicalMaps, s.virtualAliasMaps}
	}
	return [][]string{s.recipientCanonicalMaps, s.canonicalMaps, s.virtualAliasMaps}
}

// anyListed searches several lists of tables; the first match or failure
// counts.
func (r *run) anyListed(sets [][]string, addr string) rewrite.Match {
	for _, maps := range sets {
		if m := r.findIn(maps, addr); m.Found || m.Failed {
			return m
		}
	}
	return rewrite.Match{}
}

func (r *run) findIn(maps []string, addr string) rewrite.Match {
	m := r.p.resolver.Find(r, maps, addr)
	r.warnAll(m.Warnings)
	return m
}

// undeliverable refuses what resolves to the error or retry transport, with
// that transport's own text.
func (r *run) undeliverable(addr, class string, res rewrite.Resolved) status {
	code, def := 550, "5.1.1"
	if res.Class == rewrite.VirtualAlias {
		code = r.p.set.unknownVirtualAliasCode
	}
	if res.Transport == "retry" {
		code, def = 450, "4.1.1"
	}
	dsn, text := splitStatus(unlistedStatus(class, def), res.Nexthop)
	return r.reject(ClassBounce, code, r.fixStatus(dsn, class), refusal(addr, class, text))
}

// unlistedStatus gives the sender's form of a status code about a mailbox.
func unlistedStatus(class, dsn string) string {
	if class == classSender {
		return dsn[:1] + ".1.0"
	}
	return dsn
}

func (r *run) unknownUser(addr, class string, res rewrite.Resolved) status {
	s := &r.p.set
	var maps []string
	var code int
	var table string
	switch res.Class {
	case rewrite.Local:
		maps, code, table = s.localRecipientMaps, s.unknownLocalCode, "local recipient table"
		if r.localExempt(res.Recipient) {
			return dunno
		}
	case rewrite.VirtualMailbox:
		maps, code, table = s.virtualMailboxMaps, s.unknownVirtualMailboxCode, "virtual mailbox table"
	case rewrite.Relay:
		maps, code, table = s.relayRecipientMaps, s.unknownRelayCode, "relay recipient table"
	default:
		return dunno
	}
	if len(maps) == 0 {
		return dunno
	}
	switch m := r.findIn(maps, res.Recipient); {
	case m.Failed:
		return r.matchFailure(m, addr)
	case m.Found:
		return dunno
	}
	text := "User unknown"
	if s.showTableName {
		text += " in " + table
	}
	return r.reject(ClassBounce, code, unlistedStatus(class, "5.1.1"), refusal(addr, class, text))
}

// localExempt names the local addresses that exist without being in a table:
// what stands before the first "@" counts, as in Postfix.
func (r *run) localExempt(addr string) bool {
	local, _, _ := strings.Cut(addr, "@")
	for _, n := range []string{r.p.set.doubleBounceSender, "postmaster", "mailer-daemon"} {
		if strings.EqualFold(local, n) {
			return true
		}
	}
	return false
}
