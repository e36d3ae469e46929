"""The engine over a vLLM server of its own: replies and adapters through its OpenAI API."""
