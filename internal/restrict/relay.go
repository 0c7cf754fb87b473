package restrict

import (
	"strings"

	"sekisho/internal/mail"
	"sekisho/internal/rewrite"
)

// authDestination says whether we are responsible for a recipient: its domain
// is one of ours or one we relay for, and the address carries no routing of
// the sender's own.
func (r *run) authDestination(rcpt string) (ok, failed bool) {
	res := r.resolve(rcpt)
	if res.Failed {
		return false, true
	}
	_, domain, has := mail.SplitAddress(res.Recipient)
	switch {
	case !has:
		return true, false
	case res.Routed && !r.p.set.allowUntrustedRouting:
		return false, false
	}
	return res.Class != rewrite.Default || domain == "", false
}

func evalPermitAuthDestination(r *run, c call) status {
	return r.relay(c, func() status { return permit }, func() status { return dunno })
}

func evalRejectUnauthDestination(r *run, c call) status {
	return r.relay(c, nil, func() status { return r.relayDenied(r.p.set.relayCode, "5.7.1") })
}

func evalDeferUnauthDestination(r *run, c call) status {
	return r.relay(c, nil, func() status { return r.relayDenied(r.p.set.relayCode-100, "4.7.1") })
}

// relay runs ours for a destination we are responsible for, others else; nil
// is no opinion.
func (r *run) relay(c call, ours, others func() status) status {
	if !r.f.RecipientKnown || r.f.Recipient == "" {
		return dunno
	}
	ok, failed := r.authDestination(r.f.Recipient)
	switch {
	case failed:
		return r.lookupFailure(r.f.Recipient)
	case !ok:
		return others()
	case ours != nil:
		return ours()
	}
	return dunno
}

func (r *run) relayDenied(code int, dsn string) status {
	return r.reject(ClassPolicy, code, dsn, "<"+r.f.Recipient+">: Relay access denied")
}

func evalMultiRecipientBounce(r *run, c call) status {
	if !r.f.SenderKnown || r.f.Sender != "" {
		return dunno
	}
	atEnd := r.f.ProtocolState == "DATA" || r.f.ProtocolState == "BDAT" || r.f.ProtocolState == "END-OF-MESSAGE"
	if r.f.RecipientCount < 1 || atEnd && r.f.RecipientCount < 2 {
		return dunno
	}
	return r.reject(ClassPolicy, r.p.set.multiBounceCode, "5.5.3", refusal(c.name, c.class, "Multi-recipient bounce"))
}

// splitOwners splits the value of smtpd_sender_login_maps.
func splitOwners(v string) []string {
	return strings.FieldsFunc(v, func(c rune) bool { return strings.ContainsRune(", \t\r\n", c) })
}
