package main

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	grpcv0 "github.com/a2aproject/a2a-go/v2/a2agrpc/v0"
	grpcv1 "github.com/a2aproject/a2a-go/v2/a2agrpc/v1"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"google.golang.org/grpc"
)

// parrot answers with each word of a prompt as a chunk. A prompt that begins with "wait" is not answered until its
// task is cancelled.
type parrot struct{}

func (parrot) Execute(ctx context.Context, e *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		if e.StoredTask == nil && !yield(a2a.NewSubmittedTask(e, e.Message), nil) {
			return
		}
		if !yield(a2a.NewStatusUpdateEvent(e, a2a.TaskStateWorking, nil), nil) {
			return
		}
		words := strings.Fields(textOf(e.Message.Parts))
		if len(words) > 0 && words[0] == "wait" {
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
			return
		}
		var artifact a2a.ArtifactID
		for _, word := range words {
			part := a2a.NewTextPart(word + " ")
			var event *a2a.TaskArtifactUpdateEvent
			if artifact == "" {
				event = a2a.NewArtifactEvent(e, part)
				artifact = event.Artifact.ID
			} else {
				event = a2a.NewArtifactUpdateEvent(e, artifact, part)
			}
			if !yield(event, nil) {
				return
			}
		}
		said := a2a.NewMessageForTask(a2a.MessageRoleAgent, e, a2a.NewTextPart(strings.Join(words, " ")))
		yield(a2a.NewStatusUpdateEvent(e, a2a.TaskStateCompleted, said), nil)
	}
}

func (parrot) Cancel(_ context.Context, e *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		yield(a2a.NewStatusUpdateEvent(e, a2a.TaskStateCanceled, nil), nil)
	}
}

func registerAgent(g *grpc.Server, address string) {
	older := a2a.NewAgentInterface(address, a2a.TransportProtocolGRPC)
	older.ProtocolVersion = "0.3"
	agentCard := &a2a.AgentCard{
		Name: "parrot", Description: "says what it hears", Version: "1",
		SupportedInterfaces: []*a2a.AgentInterface{
			a2a.NewAgentInterface(address, a2a.TransportProtocolGRPC), older,
		},
		DefaultInputModes: []string{"text/plain"}, DefaultOutputModes: []string{"text/plain"},
		Capabilities: a2a.AgentCapabilities{Streaming: true, ExtendedAgentCard: true},
		Skills:       []a2a.AgentSkill{{ID: "say", Name: "say", Description: "repeats", Tags: []string{"words"}}},
	}
	handler := a2asrv.NewHandler(
		parrot{}, a2asrv.WithExtendedAgentCard(agentCard), a2asrv.WithCapabilityChecks(&agentCard.Capabilities),
	)
	grpcv1.NewHandler(handler).RegisterWith(g)
	grpcv0.NewHandler(handler).RegisterWith(g)
}

func agentOf(c command) (a2aclient.Transport, error) {
	channel, err := find(channels, c.Chan)
	if err != nil {
		return nil, err
	}
	if c.Version == "0.3" {
		return grpcv0.NewGRPCTransport(channel), nil
	}
	return grpcv1.NewGRPCTransport(channel), nil
}

func params(c command) a2aclient.ServiceParams {
	return a2aclient.ServiceParams{"a2a-version": {orDefault(c.Version, "1.0")}}
}

func card(ctx context.Context, c command) (answer, error) {
	agent, err := agentOf(c)
	if err != nil {
		return nil, err
	}
	got, err := agent.GetExtendedAgentCard(ctx, params(c), &a2a.GetExtendedAgentCardRequest{})
	if err != nil {
		return nil, err
	}
	return answer{"name": got.Name, "streaming": got.Capabilities.Streaming, "skills": len(got.Skills)}, nil
}

func request(c command) *a2a.SendMessageRequest {
	message := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(c.Text))
	message.TaskID = a2a.TaskID(c.Task)
	return &a2a.SendMessageRequest{Message: message}
}

func send(ctx context.Context, c command) (answer, error) {
	agent, err := agentOf(c)
	if err != nil {
		return nil, err
	}
	got, err := agent.SendMessage(ctx, params(c), request(c))
	if err != nil {
		return nil, err
	}
	facts := answer{}
	note(got.(a2a.Event), facts)
	return facts, nil
}

// stream sends a prompt and takes events to the end; with Times it goes away after so many.
func stream(ctx context.Context, c command) (answer, error) {
	agent, err := agentOf(c)
	if err != nil {
		return nil, err
	}
	return collect(agent.SendStreamingMessage(ctx, params(c), request(c)), c.Times)
}

func follow(ctx context.Context, c command) (answer, error) {
	agent, err := agentOf(c)
	if err != nil {
		return nil, err
	}
	request := &a2a.SubscribeToTaskRequest{ID: a2a.TaskID(c.Task)}
	return collect(agent.SubscribeToTask(ctx, params(c), request), c.Times)
}

func task(ctx context.Context, c command) (answer, error) {
	agent, err := agentOf(c)
	if err != nil {
		return nil, err
	}
	got, err := agent.GetTask(ctx, params(c), &a2a.GetTaskRequest{ID: a2a.TaskID(c.Task)})
	if err != nil {
		return nil, err
	}
	facts := answer{}
	note(got, facts)
	return facts, nil
}

func cancelTask(ctx context.Context, c command) (answer, error) {
	agent, err := agentOf(c)
	if err != nil {
		return nil, err
	}
	got, err := agent.CancelTask(ctx, params(c), &a2a.CancelTaskRequest{ID: a2a.TaskID(c.Task)})
	if err != nil {
		return nil, err
	}
	facts := answer{}
	note(got, facts)
	return facts, nil
}

func collect(events iter.Seq2[a2a.Event, error], atMost int) (answer, error) {
	facts, count := answer{}, 0
	for event, err := range events {
		if err != nil {
			return facts, err
		}
		count++
		note(event, facts)
		if count == atMost {
			break
		}
	}
	facts["events"] = count
	return facts, nil
}

// note keeps what an event says of its task: its id, its state, and the text of artifacts and status messages.
func note(event a2a.Event, facts answer) {
	switch e := event.(type) {
	case *a2a.Task:
		facts["task"], facts["state"] = string(e.ID), e.Status.State.String()
		for _, artifact := range e.Artifacts {
			add(facts, "text", textOf(artifact.Parts))
		}
		noteStatus(e.Status, facts)
	case *a2a.TaskStatusUpdateEvent:
		facts["task"], facts["state"] = string(e.TaskID), e.Status.State.String()
		noteStatus(e.Status, facts)
	case *a2a.TaskArtifactUpdateEvent:
		facts["task"] = string(e.TaskID)
		add(facts, "text", textOf(e.Artifact.Parts))
	case *a2a.Message:
		add(facts, "said", textOf(e.Parts))
	}
}

func noteStatus(status a2a.TaskStatus, facts answer) {
	if status.Message != nil {
		add(facts, "said", textOf(status.Message.Parts))
	}
}

func add(facts answer, key, text string) {
	before, _ := facts[key].(string)
	facts[key] = before + text
}

func textOf(parts a2a.ContentParts) string {
	var all strings.Builder
	for _, part := range parts {
		all.WriteString(part.Text())
	}
	return all.String()
}
