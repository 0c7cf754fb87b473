package restrict

import "strings"

// saslEnabled complains when a restriction needs logins and there are none.
func (r *run) saslEnabled(c call) bool {
	if !r.p.set.saslEnabled {
		r.warnf("restriction `%s' ignored: no SASL support", c.it.text)
	}
	return r.p.set.saslEnabled
}

// sendsAs reports whether there is a sender whose owners count. Where
// smtpd_sender_login_maps is empty no sender has any.
func (r *run) sendsAs(c call) bool {
	return r.saslEnabled(c) && r.mailFrom() != ""
}

func evalAuthSenderLoginMismatch(r *run, c call) status {
	if !r.sendsAs(c) || r.f.SASLUsername == "" {
		return dunno
	}
	return r.mustOwn(false)
}

func evalUnauthSenderLoginMismatch(r *run, c call) status {
	if !r.sendsAs(c) || r.f.SASLUsername != "" {
		return dunno
	}
	return r.mustLogIn()
}

func evalKnownSenderLoginMismatch(r *run, c call) status {
	switch {
	case !r.sendsAs(c):
		return dunno
	case r.f.SASLUsername == "":
		return r.mustLogIn()
	}
	return r.mustOwn(true)
}

// owners looks up who may send as the envelope sender; ok is false when that
// decided already.
func (r *run) owners() (list string, found bool, st status, ok bool) {
	res := r.resolve(r.mailFrom(), classSender)
	if res.Failed {
		return "", false, r.lookupFailure(r.mailFrom()), false
	}
	m := r.findIn(r.p.set.senderLoginMaps, res.Recipient)
	if m.Failed {
		return "", false, r.matchFailure(m, r.mailFrom()), false
	}
	return m.Value, m.Found, dunno, true
}

// mustOwn refuses a login that does not own the sender address; one that has
// no owner is anybody's if allowUnknown.
func (r *run) mustOwn(allowUnknown bool) status {
	list, found, st, ok := r.owners()
	if !ok || !found && allowUnknown {
		return st
	}
	for _, o := range splitOwners(list) {
		if strings.EqualFold(o, r.f.SASLUsername) {
			return dunno
		}
	}
	return r.reject(ClassPolicy, 553, "5.7.1",
		refusal(r.mailFrom(), classSender, "not owned by user "+r.f.SASLUsername))
}

// mustLogIn refuses a stranger who uses an address that has owners.
func (r *run) mustLogIn() status {
	_, found, st, ok := r.owners()
	if !ok || !found {
		return st
	}
	return r.reject(ClassPolicy, 553, "5.7.1", refusal(r.mailFrom(), classSender, "not logged in"))
}

// splitOwners splits the value of smtpd_sender_login_maps.
func splitOwners(v string) []string {
	return strings.FieldsFunc(v, func(c rune) bool { return strings.ContainsRune(", \t\r\n", c) })
}
