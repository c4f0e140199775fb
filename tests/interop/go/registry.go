package main

import (
	"fmt"
	"sync"

	"github.com/quic-go/quic-go"
	"google.golang.org/grpc"
)

// What commands name: connections that were dialled, channels on them, and servers.
var (
	held     sync.Mutex
	conns    = map[string]*quic.Conn{}
	channels = map[string]*grpc.ClientConn{}
	servers  = map[string]*server{}
	counter  int
)

func keep[T any](in map[string]T, prefix string, value T) string {
	held.Lock()
	defer held.Unlock()
	counter++
	name := fmt.Sprintf("%s%d", prefix, counter)
	in[name] = value
	return name
}

func find[T any](in map[string]T, name string) (T, error) {
	held.Lock()
	defer held.Unlock()
	value, known := in[name]
	if !known {
		return value, fmt.Errorf("nothing is called %q", name)
	}
	return value, nil
}
