"""The methods: one paper, one folder. None knows another, a transport or the loop."""
