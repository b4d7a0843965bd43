package resp

// Counts are the clients of a server: of now, and since it was made.
type Counts struct {
	Connections, Subscribers int
	Accepted, Rejected       int64
	Commands, Errors         int64
	// Messages were sent to subscribers; each subscriber's count.
	Messages int64
}

// Counts tells of the clients.
func (s *Server) Counts() Counts {
	t, accepted, rejected := s.total()
	out := Counts{Accepted: accepted, Rejected: rejected, Commands: t.commands.Load(), Errors: t.errors.Load()}
	for _, c := range s.clients() {
		out.Connections++
		if about(c).subscriber() {
			out.Subscribers++
		}
	}
	s.subscribers.mu.Lock()
	defer s.subscribers.mu.Unlock()
	out.Messages = s.subscribers.messages
	return out
}
