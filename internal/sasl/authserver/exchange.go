package authserver

import (
	"context"
	"fmt"
	"strings"

	"sekisho/internal/sasl"
	"sekisho/internal/sasl/authproto"
)

// exchange is one authentication under way.
type exchange struct {
	ctx       context.Context // ends with the exchange
	cancel    context.CancelFunc
	responses chan string // the client's; more than one waiting is none too many
}

// auth begins an exchange.
func (c *client) auth(id uint32, mech string, params []string) error {
	x := &exchange{responses: make(chan string, 1)}
	x.ctx, x.cancel = context.WithCancel(c.ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exchanges[id] != nil {
		return fmt.Errorf("request id %d for a second exchange", id)
	}
	if len(c.exchanges) >= maxExchanges {
		return fmt.Errorf("more than %d exchanges at a time", maxExchanges)
	}
	c.exchanges[id] = x
	who, initial, has := parse(params)
	c.running.Go(func() {
		defer c.end(id, x)
		c.hold(id, x, who, mech, initial, has)
	})
	return nil
}

// parse reads the parameters of AUTH. The response is the last.
func parse(params []string) (who sasl.Client, initial string, has bool) {
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		switch value := authproto.Unescape(value); name {
		case "service":
			who.Service = value
		case "rip":
			who.Address = value
		case "lip":
			who.ServerAddress = value
		case "secured":
			who.TLS = true
		case "resp":
			initial, has = value, true
		}
	}
	return who, initial, has
}

// hold holds the dialogue of an exchange.
func (c *client) hold(id uint32, x *exchange, who sasl.Client, mech, initial string, has bool) {
	next, step := c.server.backend.Start(x.ctx, who, mech, initial, has)
	for step.Kind == sasl.Challenge {
		c.warn(step)
		c.write(fmt.Sprintf("CONT\t%d\t%s\n", id, step.Challenge))
		response, ok := c.await(x)
		if !ok {
			if x.ctx.Err() == nil {
				c.write(fmt.Sprintf("FAIL\t%d\treason=Authentication timed out\n", id))
			}
			return
		}
		step = next.Next(x.ctx, response)
	}
	c.warn(step)
	if x.ctx.Err() == nil { // not cancelled
		c.write(verdict(id, step))
	}
}

// await waits for the client's next message, for a while.
func (c *client) await(x *exchange) (response string, ok bool) {
	waiting, stop := context.WithCancel(x.ctx)
	defer stop()
	late := make(chan struct{})
	go func() {
		if c.server.clock.Sleep(waiting, patience) == nil {
			close(late)
		}
	}()
	select {
	case response = <-x.responses:
		return response, true
	case <-late:
	case <-x.ctx.Done():
	}
	return "", false
}

func (c *client) warn(s sasl.Step) {
	for _, w := range s.Warnings {
		c.server.log.Warn(w)
	}
}

// verdict is the last line of an exchange.
func verdict(id uint32, s sasl.Step) string {
	if s.Kind == sasl.Done {
		return fmt.Sprintf("OK\t%d\tuser=%s\n", id, authproto.Escape(s.User))
	}
	line := fmt.Sprintf("FAIL\t%d", id)
	if s.UserKnown {
		line += "\tuser=" + authproto.Escape(s.User)
	}
	if s.Kind == sasl.TempFailed {
		line += "\ttemp"
	}
	if s.Reason != "" {
		line += "\treason=" + authproto.Escape(s.Reason)
	}
	return line + "\n"
}

// cont hands a response to its exchange. One that nobody waits for is dropped:
// the exchange may have ended meanwhile.
func (c *client) cont(id uint32, response string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x := c.exchanges[id]; x != nil {
		select {
		case x.responses <- response:
		default:
		}
	}
}

// cancel gives an exchange up.
func (c *client) cancel(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x := c.exchanges[id]; x != nil {
		x.cancel()
		delete(c.exchanges, id)
	}
}

// end takes an exchange away that is over.
func (c *client) end(id uint32, x *exchange) {
	x.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exchanges[id] == x { // its id may belong to another by now
		delete(c.exchanges, id)
	}
}
