package policyd

// Settle waits until the other side of an idle connection has closed it or sent
// something.
func (c *Clients) Settle(service string) {
	cl := c.clients[service]
	cl.mu.Lock()
	defer cl.mu.Unlock()
	for _, cn := range cl.idle {
		cn.r.Peek(1)
	}
}
