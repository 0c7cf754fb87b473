package rewrite

import "sekisho/internal/mail"

// Remote returns a resolver whose Rewrite completes addresses in the context
// of mail from elsewhere: with domain instead of our own
// (remote_header_rewrite_domain, postconf(5)).
func (r *Resolver) Remote(domain string) *Resolver {
	remote := *r
	remote.o.Myorigin, remote.o.Mydomain = domain, domain
	return &remote
}

// RewriteExternal is Rewrite for an address in external form, as it stands in
// a header: what it is made of is not lost on the way. The result is in
// external form; that of an empty address is "" in quotes.
func (r *Resolver) RewriteExternal(addr string) string {
	internal := mail.JoinTokens(r.rewrite(mail.ScanAddress(addr)))
	if internal == "" {
		return `""`
	}
	return mail.Quote(internal)
}
