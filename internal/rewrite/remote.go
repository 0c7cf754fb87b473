package rewrite

// Remote returns a resolver whose Rewrite completes addresses in the context
// of mail from elsewhere: with domain instead of our own
// (remote_header_rewrite_domain, postconf(5)).
func (r *Resolver) Remote(domain string) *Resolver {
	remote := *r
	remote.o.Myorigin, remote.o.Mydomain = domain, domain
	return &remote
}
