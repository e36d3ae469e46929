"""arrivals are claimed by drains; more features of turns

Revision: 0002, after 0001
"""

from alembic import op
import sqlalchemy as sa
import shoptalk.store.columns

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('arrivals', sa.Column('claimed_until', shoptalk.store.columns.Time(timezone=True), nullable=True))
    op.add_column('turn_features', sa.Column('language', sa.String(length=8), nullable=True))
    op.add_column('turn_features', sa.Column('sentiment', sa.Float(), nullable=True))
    op.add_column('turn_features', sa.Column('mean_logprob', sa.Float(), nullable=True))
    op.add_column('turn_features', sa.Column('cluster_id', sa.String(length=80), nullable=True))
    op.create_index(op.f('ix_turn_features_cluster_id'), 'turn_features', ['cluster_id'])
    op.create_table(
        'near_clusters',
        sa.Column('id', sa.String(length=80), nullable=False),
        sa.Column('signature', sa.LargeBinary(), nullable=False),
        sa.Column('created_at', shoptalk.store.columns.Time(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_near_clusters')),
    )
    op.create_table(
        'near_bands',
        sa.Column('role', sa.String(length=16), nullable=False),
        sa.Column('band', sa.String(length=16), nullable=False),
        sa.Column('cluster_id', sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint('role', 'band', 'cluster_id', name=op.f('pk_near_bands')),
    )
    op.create_table(
        'topic_models',
        sa.Column('id', sa.String(length=80), nullable=False),
        sa.Column('version', sa.String(length=32), nullable=False),
        sa.Column('topics', sa.Integer(), nullable=False),
        sa.Column('turns', sa.Integer(), nullable=False),
        sa.Column('centroids', sa.LargeBinary(), nullable=False),
        sa.Column('created_at', shoptalk.store.columns.Time(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_topic_models')),
    )
    op.create_table(
        'turn_topics',
        sa.Column('turn_id', sa.String(length=80), nullable=False),
        sa.Column('model_id', sa.String(length=80), nullable=False),
        sa.Column('topic', sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint('turn_id', name=op.f('pk_turn_topics')),
    )
    op.create_index(op.f('ix_turn_topics_model_id'), 'turn_topics', ['model_id'])


def downgrade() -> None:
    op.drop_table('turn_topics')
    op.drop_table('topic_models')
    op.drop_table('near_bands')
    op.drop_table('near_clusters')
    op.drop_index(op.f('ix_turn_features_cluster_id'), 'turn_features')
    for column in ('cluster_id', 'mean_logprob', 'sentiment', 'language'):
        op.drop_column('turn_features', column)
    op.drop_column('arrivals', 'claimed_until')
