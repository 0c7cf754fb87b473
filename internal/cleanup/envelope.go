package cleanup

import (
	"cmp"
	"log/slog"
	"net/netip"
	"strings"

	"sekisho/internal/deliver"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

const mailerDaemon = "MAILER-DAEMON"

// takeSender brings the sender into its final form and adds the blind copies
// that sender_bcc_maps asks for.
func (m *Message) takeSender(addr string) {
	s := &m.c.set
	addr = m.c.world.Resolver.Rewrite(addr)
	if strings.Contains(addr, "@") && strings.EqualFold(addr, m.c.world.Resolver.Rewrite(mailerDaemon)) {
		addr = "" // bounces of other systems that give their name instead of <>
	}
	if m.maps {
		addr, _ = m.mapOne(&s.senderCanonical, envelopeSender, addr)
		addr, _ = m.mapOne(&s.canonical, envelopeSender, addr)
		addr = m.masquerade(envelopeSender, addr)
	}
	m.env.Sender = addr
	m.bccFrom(&s.senderBcc, addr)
}

// takeRecipient brings one recipient into its final form, expands aliases and
// adds blind copies. An empty Original is what the address was.
func (m *Message) takeRecipient(r mail.Recipient) {
	if r.Original == "" {
		r.Original = r.Address
	}
	if r.Address == "" {
		r.Address = m.c.set.emptyRecipient
	}
	r.Address = m.recipientForm(r.Address)
	if r.ORCPT == "" && r.Address != "" {
		r.ORCPT = "rfc822;" + mail.EncodeXtext(r.Address)
		if m.env.SMTPUTF8 && !isASCII(r.Address) {
			r.ORCPT = "utf-8;" + mail.Quote(r.Address)
		}
	}
	m.addRecipient(r)
	m.recipient = r.Address
	m.recipients++
	m.bccFrom(&m.c.set.recipientBcc, r.Address)
}

func (m *Message) recipientForm(addr string) string {
	s := &m.c.set
	addr = m.c.world.Resolver.Rewrite(addr)
	if m.maps {
		addr, _ = m.mapOne(&s.recipientCanonical, envelopeRecipient, addr)
		addr, _ = m.mapOne(&s.canonical, envelopeRecipient, addr)
		addr = m.masquerade(envelopeRecipient, addr)
	}
	return addr
}

// addBcc adds a blind copy, of which nobody is told anything.
func (m *Message) addBcc(addr string) {
	addr = m.recipientForm(addr)
	m.addRecipient(mail.Recipient{Address: addr, Original: addr, Notify: mail.NotifyNever})
}

// addCopy adds a blind copy that a restriction asks for: one each time it asks,
// as Postfix does.
func (m *Message) addCopy(addr string) {
	before := m.seenAddress
	m.seenAddress = map[string]bool{}
	m.addBcc(addr)
	m.seenAddress = before
}

// bccFrom adds the blind copy that a table has for an address.
func (m *Message) bccFrom(t *tables, addr string) {
	if !m.copies || addr == "" || len(t.maps) == 0 {
		return
	}
	found := m.c.world.Resolver.Find(m.src, t.maps, addr)
	m.warnings(found.Warnings)
	switch {
	case found.Failed:
		m.warn("%s map lookup problem -- message not accepted, try again later", t.param)
		m.trouble |= noQueue
	case found.Found:
		m.addBcc(found.Value) // in internal form, as it stands
	}
}

// addRecipient expands aliases and adds the results that are not there yet.
// Addresses that came by different originals stay apart: their owners tell
// them apart by X-Original-To.
func (m *Message) addRecipient(r mail.Recipient) {
	list := []string{r.Address}
	if m.maps && len(m.c.set.virtualAlias.maps) > 0 {
		list = m.expand(r.Address)
		if m.env.Probe && len(list) > 1 {
			m.aliased(r)
			return
		}
		if r.Notify&mail.NotifySuccess != 0 && (len(list) > 1 || list[0] != r.Address) {
			m.env.Expanded = append(m.env.Expanded, r)
			r.Notify = withoutSuccess(r.Notify)
		}
	}
	for _, a := range list {
		r.Address = a
		if m.isNew(r) {
			m.env.Recipients = append(m.env.Recipients, r)
		}
	}
}

// aliased answers a probe for an alias of several addresses itself: they might
// give different answers.
func (m *Message) aliased(r mail.Recipient) {
	result := deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: "aliased to multiple recipients"}
	now := m.c.world.Clock.Now()
	m.c.log.LogAttrs(m.ctx, slog.LevelInfo, deliver.ProbeLine(m.env.QueueID, r, result, deliver.Times{Arrived: m.env.Arrived, Active: now, Done: now}, m.c.set.delayDigits, true))
	m.c.world.Verified(r.Original, r.Address, result)
}

// withoutSuccess is how an alias passes NOTIFY on: the success is the alias's
// (RFC 3461 section 5.2.7.1, case b).
func withoutSuccess(n mail.Notify) mail.Notify {
	if n == mail.NotifySuccess {
		return mail.NotifyNever
	}
	return n &^ mail.NotifySuccess
}

func (m *Message) isNew(r mail.Recipient) bool {
	key := strings.ToLower(r.Address)
	if m.c.set.originalRecipient {
		key = strings.ToLower(strings.Join([]string{r.ORCPT, r.Notify.String(), r.Original, r.Address}, "\n"))
	}
	if m.seenAddress[key] {
		return false
	}
	if limit := m.c.set.duplicates; limit <= 0 || len(m.seenAddress) < limit {
		m.seenAddress[key] = true
	}
	return true
}

func (m *Message) warnings(texts []string) {
	for _, t := range texts {
		m.bareWarn(t)
	}
}

// clientIsLocal reports whether the client is one whose headers are completed
// (local_header_rewrite_clients). A message without a client is ours; one that
// is forwarded has the client that brought it first.
func (m *Message) clientIsLocal() bool {
	f := m.facts
	if m.homemade() {
		if m.env.Client.Address == "" {
			return true
		}
		f = &mail.Facts{ClientAddress: m.env.Client.Address, ClientName: m.env.Client.Name, SASLUsername: m.env.Client.SASLUsername}
	}
	check := false // the word before was check_address_map
	for _, it := range m.c.in.localClients {
		word := it.Text
		if check || strings.Contains(word, ":") {
			check = false
			if m.asked(word, f.ClientAddress) {
				return true
			}
			continue
		}
		switch strings.ToLower(word) {
		case "permit_inet_interfaces":
			if m.ownAddress(cmp.Or(f.SocketAddress, f.ClientAddress)) {
				return true
			}
		case "permit_mynetworks":
			l := m.c.in.mynetworks
			if l == nil {
				break
			}
			r := l.MatchHost(m.src, f.ClientName, f.ClientAddress)
			m.lookedUp("mynetworks", r.Failed, r.Warnings)
			if r.Match {
				return true
			}
		case "permit_sasl_authenticated":
			if f.SASLUsername != "" {
				return true
			}
		case "permit_tls_all_clientcerts", "permit_tls_clientcerts":
			if m.goodCertificate(f, strings.ToLower(word)) {
				return true
			}
		case "check_address_map":
			check = true
		default:
			m.bareWarn("parameter local_header_rewrite_clients: invalid request: " + word)
		}
	}
	return false
}

func (m *Message) ownAddress(addr string) bool {
	client, err := netip.ParseAddr(addr)
	if err != nil {
		return false
	}
	for _, own := range m.c.world.Lists.OwnAddresses {
		if a, err := netip.ParseAddr(own); err == nil && a.Unmap() == client.Unmap() {
			return true
		}
	}
	return false
}

// goodCertificate reports whether the client has a certificate of
// relay_clientcerts or, where any will do, one that somebody trusted vouches for.
func (m *Message) goodCertificate(f *mail.Facts, word string) bool {
	switch {
	case f.EncryptionProtocol == "":
		return false
	case f.CcertTrusted && word == "permit_tls_all_clientcerts":
		return true
	case !f.CcertPresent:
		if !m.c.in.askCertificate {
			m.bareWarn(word + ` is requested, but "smtpd_tls_ask_ccert = no"`)
		}
		return false
	}
	return m.knownCertificate(f)
}

func (m *Message) knownCertificate(f *mail.Facts) bool {
	for _, print := range []string{f.CcertPubkeyFingerprint, f.CcertFingerprint} {
		for _, t := range m.c.in.relayCerts {
			if print != "" && m.asked(t, print) {
				return true
			}
		}
	}
	return false
}

// asked reports whether a table has a key; a failing table defers the message.
func (m *Message) asked(table, key string) bool {
	a := m.src.Ask(evidence.Question{Kind: evidence.Table, Name: table, Arg: key})
	if a.Status != evidence.Found && a.Status != evidence.NotFound {
		m.lookedUp("local_header_rewrite_clients", true, []string{table + ": table lookup problem"})
	}
	return a.Status == evidence.Found
}

func (m *Message) lookedUp(param string, failed bool, warnings []string) {
	m.warnings(warnings)
	if failed {
		m.warn("%s map lookup problem -- message not accepted, try again later", param)
		m.trouble |= noQueue
	}
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 128 {
			return false
		}
	}
	return true
}
