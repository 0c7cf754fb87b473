package restrict

import (
	"strconv"
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// rblReject makes the reply for a listed client, name or address from
// rbl_reply_maps or default_rbl_reply.
func (r *run) rblReject(c call, reason, what, class string) status {
	template, failed := r.rblTemplate(c.it)
	if failed {
		return r.serverError()
	}
	x := &expansion{r: r, c: c, reason: reason, what: what, class: class}
	text, ok := x.expand(template)
	if !ok {
		r.warnf("rbl_reject_reply: bad rbl reply template for domain %s: %s", c.it.arg, template)
		text, _ = x.expand(r.p.set.defaultRBLReply)
	}
	code, rest, has := strings.Cut(text, " ")
	n, ok := replyCode(code)
	if !ok || !has {
		r.warnf("rbl response code configuration error: %s", text)
		return r.reject(ClassPolicy, 450, "4.7.1", "Service unavailable")
	}
	dsn, rest := splitStatus("4.7.1", rest)
	return r.reject(ClassPolicy, n, r.fixStatus(dsn, class), orSelf(rest, "Service unavailable"))
}

// rblTemplate looks a list up as it is written, then without its filter.
func (r *run) rblTemplate(it *item) (template string, failed bool) {
	for _, key := range [...]string{it.arg, it.domain} {
		a, warnings := evidence.First(r, "rbl_reply_maps", r.p.set.rblReplyMaps, key)
		r.warnAll(warnings)
		if a.Status != evidence.NotFound {
			return a.Value, a.Status != evidence.Found
		}
		if it.arg == it.domain {
			break
		}
	}
	return r.p.set.defaultRBLReply, false
}

// expansion fills in an RBL reply template. Values come from the client: what
// smtpd_expansion_filter does not list becomes '_'.
type expansion struct {
	r                   *run
	c                   call
	reason, what, class string
	unknown             bool // the template has a name that does not exist
}

func (x *expansion) expand(template string) (text string, ok bool) {
	x.unknown = false
	text, err := config.Expand(template, func(name string) (string, bool) {
		v, ok := x.r.rblMacro(x.c, name, x.reason, x.what, x.class)
		if !ok {
			x.unknown = true
			x.r.warnf("unknown macro name \"%s\" in expansion request", name)
		}
		return x.r.p.filterExpansion(v), ok
	})
	if err != nil {
		x.r.warnf("%v", err)
	}
	return text, err == nil && !x.unknown
}

func (r *run) rblMacro(c call, name, reason, what, class string) (string, bool) {
	switch name {
	case "rbl_code":
		return strconv.Itoa(r.p.set.rblCode), true
	case "rbl_domain":
		return c.it.domain, true
	case "rbl_reason", "rbl_txt":
		return reason, true
	case "rbl_what":
		return what, true
	case "rbl_class":
		return class, true
	}
	return r.clientMacro(name)
}

// clientMacro are the names that any reply template may use.
func (r *run) clientMacro(name string) (string, bool) {
	f := r.f
	switch name {
	case "client":
		return f.NameAddr(), true
	case "client_address":
		return f.ClientAddress, true
	case "client_name":
		return f.ClientName, true
	case "client_port":
		return f.ClientPort, true
	case "reverse_client_name":
		return f.ReverseClientName, true
	case "helo_name":
		return f.HeloName, true
	case "server_name":
		return r.p.set.myhostname, true
	case "localtime":
		a := r.Ask(evidence.Question{Kind: evidence.Clock})
		return a.Asked.Format("Jan 02 15:04:05"), true
	}
	if part, ok := strings.CutPrefix(name, "sender"); ok {
		return addressMacro(f.Sender, f.SenderKnown, part)
	}
	if part, ok := strings.CutPrefix(name, "recipient"); ok {
		return addressMacro(f.Recipient, f.RecipientKnown, part)
	}
	return "", false
}

// addressMacro is a part of an address: all of it, _name or _domain.
func addressMacro(addr string, known bool, part string) (string, bool) {
	local, domain, _ := mail.SplitAddress(addr)
	switch {
	case !known:
		return "", true
	case part == "_domain":
		return domain, true
	case part != "" && part != "_name":
		return "", false
	case addr == "":
		return "<>", true
	case part == "":
		return addr, true
	}
	return local, true
}

func (p *Program) filterExpansion(s string) string {
	b := []byte(s)
	for i, c := range b {
		if strings.IndexByte(p.set.expansionFilter, c) < 0 {
			b[i] = '_'
		}
	}
	return string(b)
}
