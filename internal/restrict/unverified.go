package restrict

import (
	"sekisho/internal/config"
	"sekisho/internal/evidence"
)

// unverified are the parameters of reject_unverified_sender or
// reject_unverified_recipient.
type unverified struct {
	rejectCode, deferCode int
	tempfail              tempfailAction
	reason                string // replaces the probe's; empty: it stays
}

func (s *settings) readUnverified(cfg *config.Config) {
	s.unverifiedSender = unverified{
		rejectCode: cfg.Int("unverified_sender_reject_code"),
		deferCode:  cfg.Int("unverified_sender_defer_code"),
		tempfail:   readTempfail(cfg, "unverified_sender_tempfail_action"),
		reason:     cfg.Str("unverified_sender_reject_reason"),
	}
	s.unverifiedRecipient = unverified{
		rejectCode: cfg.Int("unverified_recipient_reject_code"),
		deferCode:  cfg.Int("unverified_recipient_defer_code"),
		tempfail:   readTempfail(cfg, "unverified_recipient_tempfail_action"),
		reason:     cfg.Str("unverified_recipient_reject_reason"),
	}
}

func evalUnverifiedSender(r *run, _ call) status {
	if r.mailFrom() == "" {
		return dunno
	}
	return r.unverified(r.mailFrom(), classSender, "4.1.7", &r.p.set.unverifiedSender)
}

func evalUnverifiedRecipient(r *run, _ call) status {
	if r.rcptTo() == "" {
		return dunno
	}
	return r.unverified(r.rcptTo(), classRecipient, "4.1.1", &r.p.set.unverifiedRecipient)
}

// unverified refuses an address that cannot get mail, as far as a probe has
// found out. The reply code decides more than the outcome does: 2xx lets pass,
// and 4xx is a temporary failure also where the address was found bad.
func (r *run) unverified(addr, class, dsn string, u *unverified) status {
	a := r.ask(evidence.Question{Kind: evidence.Verify, Arg: addr},
		evidence.Answer{Status: evidence.Found, Value: evidence.Deliverable})
	if a.Status != evidence.Found {
		r.warnf("verify service failure")
		return r.tempfail(u.tempfail, 450, dsn, refusal(addr, class, "address verification problem"))
	}
	code := u.deferCode
	switch a.Value {
	case evidence.Deliverable:
		return dunno
	case evidence.Undeliverable:
		code = u.rejectCode
	}
	why := a.Reason
	if u.reason != "" && code >= 400 {
		why = u.reason
	}
	switch code / 100 {
	case 2:
		return dunno
	case 4:
		return r.tempfail(u.tempfail, code, dsn, refusal(addr, class, "unverified address: "+why[:min(len(why), 250)]))
	}
	if code == 0 {
		return dunno
	}
	return r.reject(ClassPolicy, code, dsn, refusal(addr, class, "undeliverable address: "+why))
}
