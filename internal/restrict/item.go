package restrict

import (
	"strings"

	"sekisho/internal/config"
)

// item is one restriction of a compiled list, with the place it was written.
type item struct {
	op   opcode
	text string // as written, without the argument
	arg  string // table, list domain, number, service
	pos  config.Pos
	list listID // the list it was written in
	eval func(*run, call) status

	filter  *rblFilter // of a DNS list
	domain  string     // DNS list without its filter
	partial bool       // the table gets partial keys
	search  certificateSearch
	problem string // what is wrong with a broken item, where its warning does not say it
}

type opcode uint8

const (
	opPlain opcode = iota
	opWarnIfReject
	opBareTable
	opClass
	opBroken // cannot be evaluated; arg is the warning
)

// listID numbers the restriction lists of a configuration.
type listID uint8

const (
	listClient listID = iota
	listHelo
	listSender
	listRelay
	listRecipient
	listData
	listEndOfData
	listETRN
	listCount
)

var listParams = [listCount]string{
	"smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions",
	"smtpd_relay_restrictions", "smtpd_recipient_restrictions", "smtpd_data_restrictions",
	"smtpd_end_of_data_restrictions", "smtpd_etrn_restrictions",
}

// word is one token of a list.
type word struct {
	text string
	pos  config.Pos
}

// parser turns the words of one list into items.
type parser struct {
	partial func(table string) bool
	classes map[string]bool
	words   []word
	at      int
	list    listID
}

// parse reads all words. It fails on nothing: what Postfix finds out when the
// evaluation gets there becomes an item that says so there.
func (ps *parser) parse() []item {
	var out []item
	for ; ps.at < len(ps.words); ps.at++ {
		out = append(out, ps.one())
	}
	return out
}

func (ps *parser) one() item {
	w := ps.words[ps.at]
	it := item{text: w.text, pos: w.pos, list: ps.list}
	if strings.EqualFold(w.text, "warn_if_reject") {
		it.op = opWarnIfReject
		it.eval = func(*run, call) status { return dunno }
		return it
	}
	if strings.Contains(w.text, ":") {
		it.op, it.arg, it.partial, it.eval = opBareTable, w.text, ps.partial(w.text), evalBareTable
		return it
	}
	if b, ok := lookupBuiltin(strings.ToLower(w.text)); ok {
		it.eval = b.eval
		ps.argument(&it, b)
		return it
	}
	if ps.classes[w.text] {
		it.op, it.eval = opClass, evalClass
		return it
	}
	it.broken(`unknown smtpd restriction: "` + w.text + `"`)
	return it
}

func (it *item) broken(warning string) {
	it.op, it.arg, it.eval = opBroken, warning, evalBroken
}

// argument takes the word after a restriction that needs one.
func (ps *parser) argument(it *item, b builtin) {
	if b.arg == ArgumentNone {
		return
	}
	next := ""
	if ps.at+1 < len(ps.words) {
		next = ps.words[ps.at+1].text
	}
	switch b.arg {
	case ArgumentTable:
		if !strings.Contains(next, ":") {
			it.broken("restriction " + b.name + `: bad argument "` + orSelf(next, it.text) + `": need maptype:mapname`)
		}
		it.partial = ps.partial(next)
		ps.certificate(it, b, next)
	case ArgumentService:
		if !strings.Contains(next, ":") {
			it.broken("restriction " + b.name + " must be followed by transport:server")
		}
	case ArgumentSeconds:
		if next == "" || strings.Trim(next, "0123456789") != "" {
			it.broken("restriction " + b.name + " must be followed by number")
		}
	case ArgumentDomain:
		if next == "" {
			it.op, it.eval = opBroken, evalMissingDomain
			it.arg = "restriction " + b.name + " requires domain name argument"
			return
		}
		it.parseList(next)
	}
	if it.op == opBroken {
		if next != "" && b.arg != ArgumentSeconds {
			ps.at++
		}
		return
	}
	it.arg = next
	ps.at++
}

// certificate reads what only check_ccert_access can have for an argument.
func (ps *parser) certificate(it *item, b builtin, arg string) {
	if b.name != "check_ccert_access" || it.op == opBroken {
		return
	}
	s, err := parseCertificateSearch(arg)
	if err != nil {
		it.broken("See earlier parsing error messages for '" + arg)
		it.problem = err.Error()
		return
	}
	it.search = s
}

// parseList splits "domain=filter" of a DNS list.
func (it *item) parseList(arg string) {
	domain, filter, has := strings.Cut(arg, "=")
	it.domain = domain
	if !has {
		return
	}
	f, err := parseRBLFilter(filter)
	if err != nil {
		it.broken("bad DNS reply filter in \"" + arg + "\": " + err.Error())
		return
	}
	it.filter = f
}

func orSelf(s, self string) string {
	if s == "" {
		return self
	}
	return s
}

func evalBroken(r *run, c call) status {
	r.warnf("%s", c.it.arg)
	return r.serverError()
}

func evalMissingDomain(r *run, c call) status {
	r.warnf("%s", c.it.arg)
	return dunno
}

func evalClass(r *run, c call) status { return r.walk(r.p.classes[c.it.text], c.scope) }

func evalBareTable(r *run, c call) status {
	b, ok := lookupBuiltin(c.bare)
	if !ok {
		r.warnf(`specify one of (check_client_access, check_reverse_client_hostname_access, check_helo_access, check_sender_access, check_recipient_access, check_etrn_access) before %s restriction "%s"`, c.class, c.it.text)
		return r.serverError()
	}
	return b.eval(r, c)
}
