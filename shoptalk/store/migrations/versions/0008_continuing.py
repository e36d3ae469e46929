"""conversations of clients that name none go on where their whole history says so

Revision: 0008, after 0007
"""

from alembic import op
import sqlalchemy as sa

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('conversations', sa.Column('made_id', sa.String(length=80), nullable=True))
    op.add_column('chat_turns', sa.Column('path', sa.String(length=64), nullable=True))
    op.add_column('chat_turns', sa.Column('joined', sa.Integer(), nullable=True))
    op.create_index(op.f('ix_chat_turns_path'), 'chat_turns', ['path'])


def downgrade() -> None:
    op.drop_index(op.f('ix_chat_turns_path'), 'chat_turns')
    op.drop_column('chat_turns', 'joined')
    op.drop_column('chat_turns', 'path')
    op.drop_column('conversations', 'made_id')
