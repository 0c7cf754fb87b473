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
	template, failed := r.rblTemplate(c.it.domain)
	if failed {
		return r.serverError()
	}
	text, err := config.Expand(template, r.rblMacros(c, reason, what, class))
	if err != nil {
		r.warnf("bad RBL reply template: %v", err)
		text, _ = config.Expand(r.p.set.defaultRBLReply, r.rblMacros(c, reason, what, class))
	}
	code, rest, _ := strings.Cut(text, " ")
	n, ok := replyCode(code)
	if !ok {
		r.warnf("rbl response code configuration error: %s", text)
		n, rest = 450, "4.7.1 Service unavailable"
	}
	dsn, rest := splitStatus(strconv.Itoa(n/100)+".7.1", rest)
	return r.reject(ClassPolicy, n, r.fixStatus(dsn, class), orSelf(rest, "Service unavailable"))
}

func (r *run) rblTemplate(domain string) (template string, failed bool) {
	for _, m := range r.p.set.rblReplyMaps {
		a := r.Ask(evidence.Question{Kind: evidence.Table, Name: m, Arg: domain})
		switch a.Status {
		case evidence.Found:
			return a.Value, false
		case evidence.NotFound:
		default:
			r.warnf("%s lookup error for \"%s\"", m, domain)
			return "", true
		}
	}
	return r.p.set.defaultRBLReply, false
}

// rblMacros are the names that an RBL reply template may use. Values come from
// the client: what smtpd_expansion_filter does not list becomes '_'.
func (r *run) rblMacros(c call, reason, what, class string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := r.rblMacro(c, name, reason, what, class)
		return r.p.filterExpansion(v), ok
	}
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
		return f.ClientName + "[" + f.ClientAddress + "]", true
	case "client_address":
		return f.ClientAddress, true
	case "client_name":
		return f.ClientName, true
	case "client_port":
		return f.ClientPort, true
	case "reverse_client_name":
		return f.ReverseClientName, true
	case "helo_name":
		return f.HeloName, f.HeloName != ""
	case "server_name":
		return r.p.set.myhostname, true
	case "mail_name":
		return r.p.set.mailName, true
	}
	for prefix, addr := range map[string]addressFact{
		"sender":    {f.Sender, f.SenderKnown},
		"recipient": {f.Recipient, f.RecipientKnown},
	} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return addr.macro(rest)
		}
	}
	return "", false
}

type addressFact struct {
	addr  string
	known bool
}

func (a addressFact) macro(part string) (string, bool) {
	if !a.known {
		return "", false
	}
	local, domain, _ := mail.SplitAddress(a.addr)
	switch part {
	case "":
		if a.addr == "" {
			return "<>", true
		}
		return a.addr, true
	case "_name":
		if a.addr == "" {
			return "<>", true
		}
		return local, true
	case "_domain":
		return domain, domain != ""
	}
	return "", false
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
